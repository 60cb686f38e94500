"""ServedModel -> a module and a program of `torch.export` that another library's converter takes as they are.

Converters differ in what they silently get wrong. What one of them does is ruled out here for all of them:

1. Strided tensors. ExecuTorch 1.5.1 lowers a relative bias [1, 12, 196, 196] of strides (12, 1, 2352, 12) without a
   word, and then every call fails; so each parameter, buffer and plain tensor is a contiguous copy.
2. Gradients. A parameter that wants one becomes a mutable state, or is refused; so none does.
3. Tuples. ncnn's converter wants a tensor; `bare` gives one where there is one output.
4. Names. A program's inputs are called as the task calls them; its outputs have no names of their own, so these stand
   beside it, in the module and in the saved file (`names_of`).
"""

from __future__ import annotations

import copy
import inspect
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from slide_export.core.errors import LoweringError, RequestError
from slide_export.core.graph import TensorSpec
from slide_export.core.text import foreign

from .served import TRACE_BATCH, ServedModel

if TYPE_CHECKING:
    from torch.export import ExportedProgram

    from slide_export.core.artifact import Array

    from .export_wrapper import ExportWrapper

NAMES = "slide_export.json"
"""Name of the file inside a `.pt2` that says what inputs and outputs are called."""

UNFOLDS = frozenset({"im2col", "col2im", "unfold", "unfold_copy"})
"""Operators that become chains of gathers on every target; see `graph.export`."""


class ForeignModule(nn.Module):
    """Preprocessing, model and outputs for a foreign converter; made by `foreign_module`.

    Attributes:
        input_names, output_names: in the order of arguments and results.
        bare: whether the only output comes as a tensor, not in a tuple.
    """

    def __init__(self, wrapper: ExportWrapper, names: tuple[Sequence[str], Sequence[str]], *, bare: bool) -> None:
        super().__init__()
        self.wrapper, self.bare = wrapper, bare
        self.input_names, self.output_names = (tuple(part) for part in names)

    def forward(self, *images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs in the order of `output_names`."""
        outputs: tuple[Tensor, ...] = self.wrapper(*images)
        return outputs[0] if self.bare else tuple(outputs)


def foreign_module(served: ServedModel, *, bare: bool = False) -> ForeignModule:
    """A copy of a served model whose tensors are contiguous and want no gradient, in eval mode.

    Args:
        bare: give a tensor instead of a tuple of one.

    Raises:
        LoweringError: a bare tensor is asked of a model with several outputs.
    """
    if bare and len(served.output_names) != 1:
        raise LoweringError(
            f"expected one output for a converter that takes no tuple, found {', '.join(served.output_names)}"
        )
    # Exporters name a program's inputs after the parameters of `forward`: each set of names is a class of its own.
    kind = type("ForeignModule", (ForeignModule,), {"forward": _with_parameters(served.input_names)})
    made: ForeignModule = kind(copy.deepcopy(served.wrapper()), (served.input_names, served.output_names), bare=bare)
    _make_contiguous(made)
    return made.eval()


def _with_parameters(names: Sequence[str]) -> Any:
    """`ForeignModule.forward` under a signature with these names."""

    def forward(self: ForeignModule, *images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs in the order of `output_names`."""
        return ForeignModule.forward(self, *images)

    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("self", *names)]
    forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return forward


def _make_contiguous(root: nn.Module) -> None:
    """Replace each tensor by a contiguous one without a gradient; what was shared stays shared."""
    copies: dict[int, Tensor] = {}

    def contiguous(tensor: Tensor) -> Tensor:
        """The one copy of a tensor; a clone has plain strides also where an axis of length 1 had odd ones."""
        if id(tensor) not in copies:
            copied = tensor.detach().clone(memory_format=torch.contiguous_format)
            kept = nn.Parameter(copied, requires_grad=False) if isinstance(tensor, nn.Parameter) else copied
            copies[id(tensor)] = kept
        return copies[id(tensor)]

    keep = []  # ids stay unique while the originals live
    for module in root.modules():
        everywhere: tuple[dict[str, Any], ...] = (module._parameters, module._buffers, vars(module))
        for held in everywhere:
            for name, value in held.items():
                if isinstance(value, Tensor):
                    keep.append(value)
                    held[name] = contiguous(value)


def examples(served: ServedModel, batch: int) -> tuple[Tensor, ...]:
    """Zero inputs of a batch, of the right shape and type."""
    return tuple(image[:1].expand(batch, *image.shape[1:]).clone() for image in served.example())


def specs(
    served: ServedModel, given: Mapping[str, Array], batch: int | None
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Inputs and outputs of an artifact.

    Args:
        given: what the artifact gave, any number of images in front.
        batch: None takes any.
    """
    size = batch or "batch"
    inputs = tuple(
        TensorSpec(name, str(fed.dtype).removeprefix("torch."), (size, *fed.shape[1:]))
        for name, fed in zip(served.input_names, served.example(), strict=True)
    )
    return inputs, tuple(TensorSpec(name, str(one.dtype), (size, *one.shape[1:])) for name, one in given.items())


def export_program(served: ServedModel, module: nn.Module, *, largest: int | None = None) -> ExportedProgram:
    """Program of a module at the served model's fixed batch, one image without it, or for any batch up to a bound.

    Args:
        module: a `ForeignModule`, or what a converter's own tools made of its program.
        largest: images in one call at most, of a dynamic batch; None makes every shape fixed.

    Raises:
        RequestError: a bound beside a fixed batch, or one below what the model takes.
        LoweringError: `torch.export` cannot express the model, or the model unfolds.
    """
    step = served.coupled
    if largest is not None and (served.io.batch or largest < 2 * step):
        found = f"a fixed batch of {served.io.batch}" if served.io.batch else largest
        raise RequestError(f"expected a dynamic batch and a bound of {2 * step} images or more, found {found}")
    batch = served.io.batch or (step if largest is None else TRACE_BATCH * step)
    shapes = None if largest is None else _dynamic(len(served.input_names), step, largest)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch's own code
            warnings.simplefilter("ignore", FutureWarning)
            program = torch.export.export(module, examples(served, batch), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch.export raises what the traced code and a dozen of its own classes raise
        raise LoweringError(
            f"expected a model that torch.export can express, found {type(error).__name__}: {foreign(str(error), 300)}"
        ) from error
    _refuse_unfold(program)
    return program


def _dynamic(inputs: int, step: int, largest: int) -> tuple[dict[int, Any], ...]:
    """The first axis of every input, in steps of the images that the model couples."""
    # Named without "batch" where it counts groups: the axis is then `step` times as long.
    axis = torch.export.Dim("batch" if step == 1 else "groups", min=1, max=largest // step)
    return tuple({0: axis if step == 1 else step * axis} for _ in range(inputs))


def _refuse_unfold(program: ExportedProgram) -> None:
    called = {str(getattr(node.target, "_opname", "")) for node in program.graph.nodes if node.op == "call_function"}
    if found := sorted(called & UNFOLDS):
        raise LoweringError(
            f"expected no Im2Col in the model, found {', '.join(found)}: it becomes a chain of gathers on every "
            "target; use slide attention's convolutions"
        )


def save_program(program: ExportedProgram, module: ForeignModule, path: Path) -> None:
    """Write a program as `.pt2`, for a converter in another environment, with the names of inputs and outputs."""
    names = json.dumps({"inputs": module.input_names, "outputs": module.output_names}, allow_nan=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it advises another suffix than it takes
        torch.export.save(program, path, extra_files={NAMES: names})


def names_of(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the inputs and outputs of a saved program."""
    texts = {NAMES: ""}
    torch.export.load(path, extra_files=texts)
    names = json.loads(texts[NAMES])
    return tuple(names["inputs"]), tuple(names["outputs"])
