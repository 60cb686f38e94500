"""ServedModel -> `.tflite`: a program of `torch.export`, the converter in its environment, names, checks, precision."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.backends import isolation
from slide_export.backends.interface import LoweringOptions, Option
from slide_export.core.artifact import Artifact
from slide_export.core.errors import LoweringError, option
from slide_export.core.graph import TensorSpec
from slide_export.core.precision import W16
from slide_export.inference.served import ServedModel

from . import flatbuffer
from .halves import halved
from .quantize import quantized
from .rules import faults

if TYPE_CHECKING:
    from torch import nn

OPTIONS: Mapping[str, Option] = {
    "delegate": Option(
        "xnnpack",
        "the kernels that a session runs: XNNPACK's, or LiteRT's own, slow and independent",
        ("xnnpack", "none"),
    ),
}
SCRIPT = Path(__file__).with_name("convert.py")
ROOT = "wrapper.module"
"""Where the model's own modules are in a foreign module."""
VARIABLES = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "2", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class _Converted:
    """A model's float32 file and what it was converted for."""

    io: object
    content: bytes


_last: weakref.WeakKeyDictionary[nn.Module, _Converted] = weakref.WeakKeyDictionary()
"""The float32 file of each module that lives: a lower precision starts from it, and is then held against it."""


def lower(source: ServedModel, directory: Path, options: LoweringOptions) -> Artifact:
    """Write `model.tflite`: one file, the same bytes for the same model.

    Raises:
        BackendUnavailable: the converter's environment is not made.
        LoweringError: the converter does not take the model, or what it made breaks a rule.
        CalibrationError: an image cannot be decoded.
    """
    if source.io.batch is None:
        raise LoweringError(
            f"litert takes one fixed batch size, found a dynamic batch: give one with {option('batch')}"
        )
    content = _converted(source)
    if options.precision == W16:
        content = halved(content)
    elif options.quantization is not None:
        content = quantized(content, options.quantization, options.calibration)
    graph = flatbuffer.parse(content)
    _check(graph)
    path = directory / "model.tflite"
    path.write_bytes(content)
    inputs, outputs = ([_spec(graph.tensors[one]) for one in ends] for ends in (graph.inputs, graph.outputs))
    settings = {"delegate": options.options.get("delegate", OPTIONS["delegate"].default)}
    return Artifact("litert", options.precision, path, tuple(inputs), tuple(outputs), settings)


def _converted(source: ServedModel) -> bytes:
    """The float32 file of a model, converted once while its module lives."""
    known = _last.get(source.module)
    if known is None or known.io != (source.io, source.task):
        known = _last[source.module] = _Converted((source.io, source.task), _convert(source))
    return known.content


def _convert(source: ServedModel) -> bytes:
    from slide_export.inference.foreign_module import export_program, foreign_module, save_program

    from . import ENVIRONMENT

    place = isolation.require("litert", ENVIRONMENT)
    module = foreign_module(source)
    with tempfile.TemporaryDirectory() as temporary:
        program, made = (Path(temporary) / name for name in ("model.pt2", "model.tflite"))
        save_program(export_program(source, module), module, program)
        job: dict[str, Any] = {"do": "convert", "program": str(program), "root": ROOT, "out": str(made)}
        isolation.run(place, SCRIPT, job, VARIABLES)
        content = flatbuffer.finished(made.read_bytes(), (source.input_names, source.output_names))
    _check(flatbuffer.parse(content))
    return content


def _check(graph: flatbuffer.Graph) -> None:
    """Refuse a file that a phone's runtime cannot load, or that computes another function.

    Raises:
        LoweringError: names the first operator that breaks a rule.
    """
    for fault in faults(graph):
        if fault.severity == "error":
            raise LoweringError(
                f"expected a .tflite file that a phone's runtime loads and that is the model, found {fault.found} in "
                f"{fault.module or 'the model'}: {fault.fix}"
            )


def _spec(tensor: flatbuffer.Tensor) -> TensorSpec:
    return TensorSpec(tensor.name, tensor.type, tensor.shape)
