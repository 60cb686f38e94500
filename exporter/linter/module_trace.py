"""What a PyTorch module does with an example input: every operator that it reaches, under the module that called it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.jit._trace import TracerWarning
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from .rules import Device

TRACED, OTHER = 2, 3  # batch sizes: 1 would broadcast, and 0 and 1 are what exporters bake in (pytorch#133653)
ROOT = "__module."  # how TorchScript calls the traced module in its scopes


@dataclass(frozen=True)
class Spec:
    """One tensor of a call.

    Attributes:
        live: it depends on the example's content; weights and constants do not.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    live: bool


@dataclass(frozen=True)
class Call:
    """One operator, `aten.roll.default` for instance, with its tensors and its other arguments.

    Attributes:
        module: name of the innermost module whose forward called it.
    """

    op: str
    module: str
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        """`aten.roll` without the overload."""
        return self.op.rpartition(".")[0]

    @property
    def live(self) -> bool:
        """Whether it works on activations."""
        return any(spec.live for spec in self.inputs)


@dataclass(frozen=True)
class Observation:
    """One module, observed.

    Attributes:
        calls: in execution order.
        baked: where another batch size fails.
        untraceable: why torch.jit.trace failed, None where it did not.
    """

    module: nn.Module
    calls: tuple[Call, ...]
    baked: tuple[Device, ...]
    untraceable: str | None


class _Recorder(TorchDispatchMode):
    """Record each call; `stack` is kept by the hooks of `_scopes`."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.stack: list[str] = [""]
        self.calls: list[Call] = []
        self.reached: Device = ("", "")
        self._live: Any = WeakTensorKeyDictionary()
        self._live[example] = True

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.reached = (self.stack[-1], str(func))
        taken = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        inputs = tuple(self._spec(tensor) for tensor in taken)
        result = func(*args, **(kwargs or {}))
        given = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if any(spec.live for spec in inputs):
            for tensor in given:
                self._live[tensor] = True
        outputs = tuple(self._spec(tensor) for tensor in given)
        self.calls.append(Call(str(func), self.stack[-1], inputs, outputs, tuple(args)[len(taken) :]))
        return result

    def _spec(self, tensor: Tensor) -> Spec:
        return Spec(tuple(tensor.shape), tensor.dtype, tensor in self._live)


@contextmanager
def _scopes(module: nn.Module, stack: list[str]) -> Iterator[None]:
    """Keep the name of the innermost running module on top of the stack."""

    def enter(name: str, *_: Any) -> None:
        """Push a module that begins its forward."""
        stack.append(name)

    def leave(*_: Any) -> None:
        """Pop a module that ends its forward."""
        stack.pop()

    hooks = []
    for name, layer in module.named_modules():
        hooks.append(layer.register_forward_pre_hook(partial(enter, name)))
        hooks.append(layer.register_forward_hook(leave, always_call=True))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def observe(module: nn.Module, example: Tensor) -> Observation:
    """Operators of a forward pass; the module is run on copies of the example's first item and not changed.

    Raises:
        Exception: whatever the module raises at the batch that it is first run at.
    """
    traced, other = (example[:1].expand(batch, *example.shape[1:]).contiguous() for batch in (TRACED, OTHER))
    with torch.no_grad():
        recorder = _Recorder(traced)
        with _scopes(module, recorder.stack), recorder:
            module(traced)
        baked, untraceable = _other_batch(module, traced, other)
    return Observation(module, tuple(recorder.calls), tuple(baked), untraceable)


def _other_batch(module: nn.Module, traced: Tensor, other: Tensor) -> tuple[list[Device], str | None]:
    """Where another batch size fails: when the module runs, or when its trace does."""
    recorder = _Recorder(other)
    try:
        with _scopes(module, recorder.stack), recorder:
            expected = _shapes(module(other))
    except Exception as error:
        where, op = recorder.reached
        return [(where, f"{op} fails at batch {OTHER}: {_first_line(error)}")], None
    try:
        with _silent():
            graph = torch.jit.trace(module, traced, check_trace=False, strict=False)
    except Exception as error:
        return [], _first_line(error)
    try:
        with _silent():
            found = _shapes(graph(other))
    except Exception as error:
        return _constants(graph) or [("", f"the trace fails at batch {OTHER}: {_first_line(error)}")], None
    if found == expected and all(shape[:1] == (OTHER,) for shape in found if shape):
        return [], None
    return _constants(graph) or [("", f"batch {OTHER} gives outputs {found}")], None


def _constants(graph: Any) -> list[Device]:
    """Modules whose trace reshapes to a first size that is a multiple of the traced batch."""
    places = []
    for node in graph.inlined_graph.nodes():
        if node.kind() not in ("aten::view", "aten::reshape", "aten::expand"):
            continue
        sizes = list(list(node.inputs())[1].node().inputs())
        first = sizes[0].toIValue() if sizes else None
        if isinstance(first, int) and first > 0 and first % TRACED == 0:
            scope = node.scopeName().rpartition("/")[2].removeprefix(ROOT)
            places.append(("" if scope == ROOT[:-1] else scope, f"{node.kind()} to the constant first size {first}"))
    return places


def _shapes(result: Any) -> list[tuple[int, ...]]:
    return [tuple(leaf.shape) for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = next((line for line in reversed(lines) if line.startswith("RuntimeError:")), lines[0] if lines else "")
    return telling or type(error).__name__


@contextmanager
def _silent() -> Iterator[None]:
    """Ignore what tracing warns about: its deprecation in torch 2.13, and sizes that become constants."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", TracerWarning)
        yield


Find = Callable[[Observation], Iterator[Device]]
