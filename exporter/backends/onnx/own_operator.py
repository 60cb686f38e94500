"""Our own operator under ONNX Runtime: what it is built against, and how a session loads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core.errors import BundleError, option
from slide_export.core.text import foreign

if TYPE_CHECKING:
    from slide_export.native.library import Runtime

PRECISIONS = ("fp32", "fp16", "int8", "int8-dynamic", "w8")
"""Of artifacts with the operator, which computes in float32."""
HEADER, HEADERS = "onnxruntime_c_api.h", "headers"
HINT = (
    f"name it with {option('options', 'option')} {HEADERS}=FOLDER; ONNX Runtime's wheel has none, its release "
    "archives, its NuGet package and Debian's libonnxruntime-dev have it"
)


def native_runtime(options: Mapping[str, str]) -> Runtime:
    """What the operator is built against: the headers that the user names.

    Raises:
        BackendUnavailable: there are none.
    """
    from slide_export.native import library  # a device runs artifacts without it

    given = options.get(HEADERS, "")
    folder = library.headers(Path(given) if given else None, HEADER, HINT)
    lines = (folder / HEADER).read_text(encoding="utf-8", errors="replace").splitlines()
    version = next((line for line in lines if line.startswith("#define ORT_API_VERSION")), "")
    return library.Runtime("SLIDE_ONNXRUNTIME", (folder,), (), version)


def register(options: Any, artifact: Path) -> None:
    """Let a session's options load the library beside an artifact.

    Raises:
        BundleError: it is another's, or ONNX Runtime cannot load it.
    """
    from slide_export.native import library

    found = library.beside(artifact)
    try:
        options.register_custom_ops_library(str(found))
    except Exception as error:  # onnxruntime raises its own classes, all straight below Exception
        raise BundleError(
            f"expected a library of operators, ONNX Runtime cannot load {found}: {foreign(error, 300)}"
        ) from error


def call(library: str) -> str:
    """What a user calls on the `options` that a session is made with."""
    return f'options.register_custom_ops_library("{library}")'
