"""ServedModel -> the files of pnnx: a trace of the model for one image, converted by pnnx's own program."""

from __future__ import annotations

import importlib.util
import subprocess
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slide_export.core.errors import LoweringError
from slide_export.core.text import foreign
from slide_export.inference.served import ServedModel

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slide_export.inference.foreign_module import ForeignModule

TRACE = "model.pt"
LIMIT_S = 1800
"""Seconds for a conversion, which takes 6 for a model of 30 million parameters."""


@dataclass(frozen=True)
class Converted:
    """What pnnx left in a directory.

    Attributes:
        module: what was traced: images as ncnn is fed them, [1, 3, H, W] float32 an input.
        images: what it was traced with.
        shapes: of its outputs, the batch of one in front.
        param, weights: the network in ncnn's form.
        graph, graph_weights: pnnx's own form, which has shapes and names.
    """

    module: ForeignModule
    images: tuple[Tensor, ...]
    shapes: tuple[tuple[int, ...], ...]
    param: Path
    weights: Path
    graph: Path
    graph_weights: Path


def convert(source: ServedModel, directory: Path) -> Converted:
    """Trace a model for one image and have pnnx convert it, weights in float32.

    Raises:
        LoweringError: the model cannot be traced, or pnnx gives no network.
    """
    import torch

    module, images = _entrance(source), _images(source)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # every shape is a constant of the trace, which is what is wanted
            traced = torch.jit.trace(module, images, check_trace=False)
            outputs = traced(*images)
            traced.save(str(directory / TRACE))
    except Exception as error:  # tracing raises what the traced code and a dozen of its own classes raise
        raise LoweringError(
            f"expected a model that torch.jit.trace records, found {type(error).__name__}: {foreign(str(error), 300)}"
        ) from error
    given = outputs if isinstance(outputs, tuple) else (outputs,)
    _refuse_integers(source.output_names, given)
    _run_pnnx(directory, images)
    stem = TRACE.removesuffix(".pt")
    files = tuple(directory / f"{stem}.{part}" for part in ("ncnn.param", "ncnn.bin", "pnnx.param", "pnnx.bin"))
    if missing := [file.name for file in files if not file.is_file()]:
        raise LoweringError(f"expected pnnx to write {', '.join(missing)} of {source.trained.variant}, found none")
    return Converted(module, images, tuple(tuple(value.shape) for value in given), *files)


def _entrance(source: ServedModel) -> ForeignModule:
    """The module to trace. Pictures come as ncnn makes an array of one: [1, 3, H, W] of 0..255, in float32."""
    from slide_export.inference.foreign_module import foreign_module

    module = foreign_module(source, bare=len(source.output_names) == 1)
    if source.io.embed_preprocessing:
        _take_planes(module)
    return module


def _take_planes(module: nn.Module) -> None:
    """Have pictures come with the channels in front, where `ExportWrapper` takes them at the end."""

    def channels_last(_module: nn.Module, images: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Move the channels: [1, 3, H, W] -> [1, H, W, 3]."""
        return tuple(image.permute(0, 2, 3, 1) for image in images)

    module.get_submodule("wrapper").register_forward_pre_hook(channels_last)


def _images(source: ServedModel) -> tuple[Tensor, ...]:
    """An image of noise an input: a value that is the same everywhere would be found in many places."""
    import torch

    generator, (rows, cols) = torch.Generator().manual_seed(0), source.trained.image_size
    noise = [torch.randn(1, 3, rows, cols, generator=generator) for _ in source.input_names]
    return tuple(
        (image * 60 + 120).clamp(0, 255).round() if source.io.embed_preprocessing else image for image in noise
    )


def _refuse_integers(names: Sequence[str], outputs: Sequence[Tensor]) -> None:
    for name, value in zip(names, outputs, strict=True):
        if not value.is_floating_point():
            raise LoweringError(f"expected outputs of floats, for ncnn has no integers; found {name} of {value.dtype}")


def _run_pnnx(directory: Path, images: Sequence[Tensor]) -> None:
    """Run pnnx's program; it also ends with 0 where it wrote layers that ncnn does not have."""
    found = importlib.util.find_spec("pnnx")
    if found is None or found.origin is None:
        raise LoweringError("expected the package pnnx, found none: install it")
    program = Path(found.origin).parent / "pnnx"  # the package itself imports what it does not need here
    shapes = ",".join(f"[{','.join(map(str, image.shape))}]f32" for image in images)
    command = [str(program), TRACE, f"inputshape={shapes}", "fp16=0"]
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LoweringError(f"expected pnnx to convert the model: {foreign(str(error))}") from error
    if done.returncode:
        said = foreign("\n".join((done.stdout + done.stderr).strip().splitlines()[-3:]))
        raise LoweringError(f"expected pnnx to convert the model, it ended with {done.returncode}: {said}")
