"""Our own operator as an OpenVINO extension: what it is built against, and how OpenVINO loads it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.core.errors import BackendUnavailable, BundleError
from slide_export.core.text import foreign
from slide_export.native import OPERATOR

if TYPE_CHECKING:
    from slide_export.native.library import Runtime

PRECISIONS = ("fp32", "fp16", "bf16", "int8", "w8")
"""Of artifacts with the operator, which computes in float32, in bf16 in pairs of bfloat16."""
HEADER = "openvino/core/extension.hpp"
HINT = "install OpenVINO's own wheel, which has it"
LANES = 16  # floats of a vector of the operator's arithmetic in bfloat16
LINKED = ("libopenvino.so.*", "libtbb.so.*")


def native_runtime(_options: Mapping[str, str]) -> Runtime:
    """What the operator is built against: headers and libraries of the wheel.

    Raises:
        BackendUnavailable: the wheel has none.
    """
    import openvino

    from slide_export.native import library  # a device runs artifacts without it

    home = Path(openvino.__file__).parent
    folder = library.headers(home / "include", HEADER, HINT)
    linked = tuple(_first(home / "libs", name) for name in LINKED)
    return library.Runtime("SLIDE_OPENVINO", (folder,), linked, openvino.__version__)


def _first(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise BackendUnavailable(
            f"expected {pattern} to link the operator of form native with, found none in {folder}: {HINT}"
        )
    return found[0]


def compute_in_bfloat16(model: Any) -> None:
    """Hand the operator bfloat16 and take it back, where its arithmetic in pairs of it fills a head's channels.

    Given    FullyConnected -> SlideAttention -> FullyConnected
    Result   FullyConnected -> Convert(bf16) -> SlideAttention -> Convert(f32) -> FullyConnected      the first and the
             last change nothing in a runtime that computes in bfloat16
    """
    from openvino import opset13

    for layer in model.get_ordered_ops():
        if layer.get_type_name() != OPERATOR or layer.input(1).get_shape()[-1] % LANES:
            continue
        given = layer.input(0)
        halved = opset13.convert(given.get_source_output(), "bf16")
        users = list(layer.output(0).get_target_inputs())
        given.replace_source_output(halved.output(0))
        layer.validate_and_infer_types()
        full = opset13.convert(layer.output(0), "f32")
        for index, made in enumerate((halved, full)):
            made.set_friendly_name(f"{layer.get_friendly_name()}/Convert_{index}")
        for user in users:
            user.replace_source_output(full.output(0))
    model.validate_nodes_and_infer_types()


def register(core: Any, artifact: Path) -> None:
    """Let OpenVINO load the library beside an artifact.

    Raises:
        BundleError: it is another's, or OpenVINO cannot load it.
    """
    from slide_export.native import library

    found = library.beside(artifact)
    try:
        core.add_extension(str(found))
    except RuntimeError as error:
        raise BundleError(
            f"expected a library of operators, OpenVINO cannot load {found}: {foreign(error, 300)}"
        ) from error


def call(library: str) -> str:
    """What a user writes before the artifact is read."""
    return f'core.add_extension("{library}")'
