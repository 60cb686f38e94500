"""Weights that an ONNX file names in other files; ours has none, and one that was altered might."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slide_export.core.errors import BundleError
from slide_export.core.text import foreign

LOCATION = b"location"
"""The key of the entry that names such a file, in whatever way the rest of it is encoded."""


def companions(path: Path) -> tuple[Path, ...]:
    """Every file that tensors of the graph at `path` are stored in beside it, none for a file that `lower` wrote.

    Raises:
        BundleError: it is no ONNX file.
    """
    data = path.read_bytes()
    if LOCATION not in data:  # almost always: nothing has to be parsed
        return ()
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    try:
        proto = ModelProto.FromString(data)
    except DecodeError as error:
        raise BundleError(f"expected an ONNX model, {path} cannot be read: {foreign(error)}") from error
    return tuple(path.parent / name for name in sorted(set(_locations(proto))))


def _locations(message: Any) -> Iterator[str]:
    """Locations of external data in a message and in all that is inside it, subgraphs and functions too."""
    for descriptor, value in message.ListFields():
        if descriptor.type == descriptor.TYPE_MESSAGE:
            inside = (value,) if hasattr(value, "ListFields") else value
            for part in inside:
                if descriptor.name == "external_data" and part.key == "location":
                    yield part.value
                yield from _locations(part)
