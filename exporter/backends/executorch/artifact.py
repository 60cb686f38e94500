"""ServedModel -> a program for XNNPACK and the settings that a session is started with."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slide_export.backends.interface import LoweringOptions, Option
from slide_export.core.artifact import LARGEST_BATCH, Artifact
from slide_export.core.errors import LoweringError, RequestError, option
from slide_export.core.precision import FP16, FP32
from slide_export.core.proof import BATCH_SIZES
from slide_export.core.text import foreign
from slide_export.core.whole_number import is_number
from slide_export.inference.served import ServedModel

from .program import read_program
from .settings import Settings
from .vendor import quiet

if TYPE_CHECKING:
    from torch import nn
    from torch.export import ExportedProgram

OPTIONS: Mapping[str, Option] = {
    "max_batch": Option(str(BATCH_SIZES[-1]), "images in one call at most, where the batch is dynamic"),
}


@dataclass(frozen=True)
class _Made:
    """A program's bytes, and which of the values between its parts are outputs of modules; see `shown`."""

    content: bytes
    shown: Mapping[str, tuple[str, ...]]


_float32: weakref.WeakKeyDictionary[nn.Module, tuple[object, _Made]] = weakref.WeakKeyDictionary()
"""The float32 program of each module that lives, and what it was made for: each lower precision is held against it, and
lowering takes minutes."""


def lower(source: ServedModel, directory: Path, options: LoweringOptions) -> Artifact:
    """Write `model.pte`: the same bytes for the same model.

    Raises:
        RequestError: the bound is no number, or below what a proof runs.
        LoweringError: the model cannot be expressed, quantized or run at its largest batch.
    """
    from slide_export.inference.foreign_module import specs

    largest = _largest(source, options)
    path = directory / "model.pte"
    made = _known_program(source, options, None if options.interface.batch else largest)
    _refuse_hidden_orders(source, made)
    path.write_bytes(made.content)
    read = read_program(path)
    settings: Settings = {
        "inputs": source.input_names,
        "outputs": source.output_names,
        "largest": largest,
        "fixed": bool(options.interface.batch),
        "delegates": len(read.parts),
        "outside": dict(sorted(read.outside.items())),
        "shown": made.shown,
    }
    found = _run_largest(source, path, settings)
    ends = specs(source, found, options.interface.batch)
    return Artifact("executorch", options.precision, path, *ends, dict(settings))


def _refuse_hidden_orders(source: ServedModel, made: _Made) -> None:
    """Refuse a program without the orders by which the model sorts: nobody could tell a permissible one from a wrong.

    Raises:
        LoweringError: names the first order.
    """
    from slide_export.models.sorting import round_names

    seen = {module for modules in made.shown.values() for module in modules}
    hidden = [name for names in round_names(source.trained.module).values() for name in names if name not in seen]
    if hidden:
        raise LoweringError(
            f"expected a program that shows the order of {hidden[0]}, which a proof has to see, found it in no value "
            "between the parts that XNNPACK runs: take another target"
        )


def _largest(source: ServedModel, options: LoweringOptions) -> int:
    """Images in one call at most.

    Raises:
        RequestError: the option is no number, or below what a proof runs.
    """
    if options.interface.batch:
        return options.interface.batch
    text = options.options.get("max_batch", OPTIONS["max_batch"].default)
    least, found = BATCH_SIZES[-1], int(text) if is_number(text) else 0
    if not least <= found <= LARGEST_BATCH or found % source.coupled:
        step = f", a multiple of {source.coupled}" if source.coupled > 1 else ""
        raise RequestError(
            f"expected max_batch of {least} to {LARGEST_BATCH}{step}, since a proof runs {least} images in one call; "
            f"found {foreign(text)!r}: a smaller one is a fixed batch ({option('batch')})"
        )
    return found


def _known_program(source: ServedModel, options: LoweringOptions, largest: int | None) -> _Made:
    """The program; a float32 one is made once while its module lives."""
    if options.precision != FP32:
        return _program(source, options, largest)
    made_for = (source.io, source.task, source.trained.data, largest)
    known = _float32.get(source.module)
    if known is None or known[0] != made_for:
        known = _float32[source.module] = (made_for, _program(source, options, largest))
    return known[1]


def _program(source: ServedModel, options: LoweringOptions, largest: int | None) -> _Made:
    """Lower a model.

    Args:
        largest: images in one call at most of a dynamic batch; None for a fixed one.
    """
    exported = _rewritten(source, options, largest)
    with quiet():
        from executorch.backends.transforms.remove_clone_ops import RemoveCloneOpsTransform
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower

        from .planned import planned_for
        from .shown import shown

        try:
            # XNNPACK's lowering drops copies too, but from each part: what a part gives may then be what it takes, or
            # two of its outputs one value, and it refuses either.
            passes = [RemoveCloneOpsTransform(preserve_input_output_copies=True)]
            # Its own checks after each of hundreds of passes are an eighth of the time, and the saved file is proved.
            unchecked = EdgeCompileConfig(_check_ir_validity=False)
            edge = to_edge_transform_and_lower(
                exported, transform_passes=passes, partitioner=[XnnpackPartitioner()], compile_config=unchecked
            )
            config = (
                ExecutorchBackendConfig()
                if largest is None
                else ExecutorchBackendConfig(sym_shape_eval_pass=planned_for(largest // source.coupled))
            )
            made = edge.to_executorch(config)
        except Exception as error:  # ExecuTorch raises what its passes do, and asserts
            raise LoweringError(
                f"expected a model that ExecuTorch can express, found {type(error).__name__}: "
                f"{foreign(str(error), 300)}"
            ) from error
    instructions = made.executorch_program.execution_plan[0].chains[0].instructions
    return _Made(bytes(made.buffer), shown(made.exported_program(), len(instructions)))


def _rewritten(source: ServedModel, options: LoweringOptions, largest: int | None) -> ExportedProgram:
    """The program in operators that XNNPACK has, in its precision."""
    import torch

    from slide_export.inference.foreign_module import examples, export_program, foreign_module
    from slide_export.inference.half import in_half

    from .quantize import quantized
    from .rewrite import rewrite
    from .shown import mark

    module = foreign_module(source)
    if options.precision == FP16:
        _refuse_half(source)
        module = in_half(module)
    with quiet():
        graph = export_program(source, module, largest=largest).module(check_guards=False)
        rewrite(graph)
        if options.quantization is not None:
            observed = options.calibration or ()
            images = [source.tensors(feeds, torch.float32) for feeds in observed] or [
                examples(source, options.interface.batch or source.coupled)  # weights are observed in a call too
            ]
            graph = quantized(graph, options.quantization, images)
        mark(graph)
        program = export_program(source, graph, largest=largest)
        _forget_origins(program)
        return program


def _forget_origins(program: ExportedProgram) -> None:
    """Drop the notes on which nodes of earlier graphs each node came from.

    Each of the hundreds of passes to come copies them whole and adds one: a seventh of the time of lowering the digits.
    The bytes are the same without.
    """
    for node in program.graph.nodes:
        node.meta.pop("from_node", None)


def _refuse_half(source: ServedModel) -> None:
    """Refuse float16 for a model with modules that it does not hold: a program here has one type throughout.

    Raises:
        LoweringError: names them.
    """
    if source.trained.float32:
        raise LoweringError(
            f"expected a model that float16 holds for executorch, {source.trained.family} keeps "
            f"{', '.join(source.trained.float32)} in float32: take fp32 or int8-dynamic"
        )


def _run_largest(source: ServedModel, path: Path, settings: Settings) -> Mapping[str, Any]:
    """Run the largest batch once: a program that is planned for less fails there, and not before.

    Raises:
        LoweringError: it fails, or gives another number of results.
    """
    import numpy as np

    from slide_export.core.errors import BundleError

    from .session import Session

    images = [fed[:1].numpy().repeat(settings["largest"], axis=0) for fed in source.example()]
    try:
        found = Session(path, settings).run(dict(zip(source.input_names, images, strict=True)))
    except BundleError as error:
        raise LoweringError(
            f"expected a program that runs {settings['largest']} images in one call, found it does not: {error}"
            + ("" if settings["fixed"] else f"; a fixed batch ({option('batch')}) may do")
        ) from error
    if any(len(value) != settings["largest"] for value in found.values()):
        counts = ", ".join(str(np.shape(value)) for value in found.values())
        raise LoweringError(f"expected {settings['largest']} results in one call, found outputs of {counts}")
    return found
