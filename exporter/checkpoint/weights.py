"""The weights themselves: of a kind that can be exported, whole, finite, in float32, in a module without own memory."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from slide_export.core.errors import CheckpointError
from slide_export.core.text import foreign
from slide_export.models import Config, Family, ShapeError, State
from slide_export.models.formats import Origin

from .architecture import shape_of
from .bounds import bounded
from .tensor_files import StoredTensor, reading
from .text import listed

FLOATS = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)
"""Types whose numbers float32 holds, but for float64's, which are compared."""

INTEGERS = re.compile(r".*\.(?:relative_position_index(?:_\d+)?|num_batches_tracked)")
"""Names of buffers that hold no weights; one a view where a model has several."""
ROUNDING = 1e-6
"""Of a rebuilt buffer's largest value: logarithms differ by that from processor to processor."""


def refuse_kinds(like: State) -> None:
    """Refuse tensors that are no dense floats: their numbers are not those of the model.

    Raises:
        CheckpointError: there are some.
    """
    for name, tensor in like.items():
        if told := _kind(name, tensor):
            raise CheckpointError(f"expected weights in float, {name} is {told}")


def _kind(name: str, tensor: Tensor) -> str:
    """Say what a tensor is that holds no weights in float; "" where it does."""
    if tensor.is_nested:
        return "a nested tensor: save its parts"
    if type(tensor) not in (Tensor, nn.Parameter):
        return f"a {foreign(type(tensor).__name__)}: save it as a plain tensor"
    if tensor.layout is not torch.strided:
        kind = str(tensor.layout).removeprefix("torch.")
        return f"a sparse tensor ({kind}): save it dense (tensor.to_dense())"
    if tensor.is_meta:
        return "a tensor without values (of the meta device): save the model after its weights are loaded"
    if tensor.is_quantized:
        return f"quantized ({str(tensor.dtype).removeprefix('torch.')}): export the float model that it was made from"
    dtype = str(tensor.dtype).removeprefix("torch.")
    if tensor.dtype in FLOATS or (INTEGERS.fullmatch(name) and dtype.startswith(("int", "uint"))):
        return ""
    if dtype == "int64":
        return "of type int64, which no weight has: a counter or an index of another module; save the model's alone"
    if dtype.startswith(("float8", "float4", "int", "uint", "bits")):
        return f"of type {dtype}, as a quantized file has it: export the float model that it was made from"
    return f"of type {dtype}: save it as float32"


def build(family: Family, config: Config, like: State | None = None) -> nn.Module:
    """Build the module of a configuration, without memory for its parameters.

    Args:
        like: the tensors that are to fill it, which bound its size; None bounds nothing.

    Raises:
        CheckpointError: no module has these numbers.
    """
    try:
        with torch.random.fork_rng(), bounded(like):
            return family.build(config)
    except (ShapeError, ValueError, TypeError, LookupError, ArithmeticError, RuntimeError, MemoryError) as error:
        raise CheckpointError(
            f"expected a configuration that makes a {family.name}, the checkpoint's makes none: {foreign(error, 400)}"
        ) from error


def refuse_misfits(
    shapes: State, expected: State, family: Family, origins: Mapping[str, Origin], filled: Mapping[str, float]
) -> list[str]:
    """Refuse missing, unexpected and misshapen tensors, by the names that the file gives them.

    Returns:
        The names that the file lacks and may lack: buffers that are rebuilt, and constants that the library leaves out.

    Raises:
        CheckpointError: the tensors are not those of the module.
    """
    missing = [key for key in expected if key not in shapes]
    rebuilt = [key for key in missing if _rebuilt(key, family) or constant(key, filled) is not None]
    problems = [f"missing {key} {shape_of(expected[key])}" for key in missing if key not in rebuilt]
    problems += [f"unexpected {_theirs(key, origins)} {shape_of(shapes[key])}" for key in shapes if key not in expected]
    problems += [
        f"misshapen {_theirs(key, origins)}: expected {shape_of(expected[key])}, found {shape_of(shapes[key])}"
        for key in shapes.keys() & expected.keys()
        if shapes[key].shape != expected[key].shape
    ]
    if problems:
        raise CheckpointError(f"the checkpoint does not fit {family.name}: {listed(sorted(problems), '; ')}")
    return rebuilt


def _theirs(key: str, origins: Mapping[str, Origin]) -> str:
    """Name a tensor as the file does, where it has another name there."""
    keys = origins[key].keys if key in origins else (key,)
    return key if keys == (key,) else f"{key} (from {', '.join(keys)})"


def _rebuilt(key: str, family: Family) -> bool:
    return bool(family.optional) and key.endswith(family.optional)


def wholly_absent(filled: Mapping[str, float], shapes: State) -> dict[str, float]:
    """Keep the patterns of which the file has no tensor at all: of a model without them, not of a damaged file."""
    return {
        pattern: number for pattern, number in filled.items() if not any(re.fullmatch(pattern, key) for key in shapes)
    }


def constant(key: str, filled: Mapping[str, float]) -> float | None:
    """Tell the number that stands for a tensor that a library leaves out."""
    return next((number for pattern, number in filled.items() if re.fullmatch(pattern, key)), None)


def weights_of(
    tensors: Mapping[str, StoredTensor],
    origins: Mapping[str, Origin],
    expected: State,
    family: Family,
    filled: Mapping[str, float],
) -> dict[str, Tensor]:
    """Read every tensor of the module, one after the other, in float32.

    Raises:
        CheckpointError: one holds a NaN or an infinity, or a buffer says something else than the architecture.
    """
    reader = reading(tensors)
    state = dict(family.canonical({key: _as_float(origin(reader), key, origins) for key, origin in origins.items()}))
    broken = [_theirs(key, origins) for key, value in state.items() if not is_finite(value)]
    altered = [
        f"altered {_theirs(key, origins)}: its values do not follow from the architecture"
        for key, value in state.items()
        if _rebuilt(key, family) and not _follows(value, expected[key])
    ]
    for key, like in expected.items():
        if key not in state and (number := constant(key, filled)) is not None:
            state[key] = torch.full(like.shape, number)
    if broken:
        raise CheckpointError(f"expected finite weights, found NaN or Inf in {listed(broken)}: the training diverged")
    if altered:
        raise CheckpointError(f"the checkpoint does not fit {family.name}: {listed(sorted(altered), '; ')}")
    return state


def _follows(value: Tensor, expected: Tensor) -> bool:
    """Whether a buffer is what the architecture makes it, up to rounding where it has fractions."""
    if not expected.is_floating_point():
        return torch.equal(value, expected)
    return bool((value - expected).abs().max() <= ROUNDING * expected.abs().max())


def _as_float(value: Tensor, key: str, origins: Mapping[str, Origin]) -> Tensor:
    """Convert a tensor to float32.

    Raises:
        CheckpointError: float32 cannot hold one of its numbers.
    """
    if not value.is_floating_point():
        return value.contiguous()
    converted = value.float().contiguous()
    if value.dtype == torch.float64 and not is_finite(converted) and is_finite(value):
        raise CheckpointError(
            f"expected weights that float32 holds, {_theirs(key, origins)} has {value.abs().max():.3g} in float64, "
            f"beyond {torch.finfo(torch.float32).max:.3g}: scale the model, or find out where the training diverged"
        )
    return converted


def is_finite(tensor: Tensor) -> bool:
    """Whether a tensor has no NaN and no infinity: where it has, the sum is not finite, and that takes one pass."""
    return not tensor.is_floating_point() or bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())


def converted(like: State) -> str:
    """Say which types become float32; "" where none does."""
    narrow = sorted(
        {str(value.dtype) for value in like.values() if value.is_floating_point() and value.dtype != torch.float32}
    )
    return f"converted {', '.join(narrow)} weights to float32" if narrow else ""


def assign(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """Put tensors in the places of a module's empty parameters.

    Raises:
        CheckpointError: a parameter has none.
    """
    module.load_state_dict(dict(state), strict=False, assign=True)
    if empty := [name for name, value in all_tensors(module) if value.is_meta]:
        raise CheckpointError(f"expected a tensor for every parameter, found none for {listed(empty)}")
    return module.eval().requires_grad_(False)


def all_tensors(module: nn.Module) -> list[tuple[str, Any]]:
    """List a module's parameters and buffers by name."""
    return [*module.named_parameters(), *module.named_buffers()]
