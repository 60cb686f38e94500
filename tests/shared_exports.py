"""One export to ONNX for all tests of a process that export the same model: most of a small export's time.

The key holds everything that the result depends on: every value of the module and its inputs, the code that runs, by
identity, so that a patched function is another key, and the options. A test of the export itself asks for `own_export`.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from slide_export.graph import export as onnx_graph
from slide_export.graph import passes

RUNS = ("slide_export.models", "slide_export.inference", "slide_export.tasks", "slide_export.graph")
"""Packages whose functions run while a model is traced; a test may plant a fault in any."""


class _Values(pickle.Pickler):
    """Tensors by their values, not by their addresses."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Tensor):
            return _tensor, (str(value.dtype), tuple(value.shape), value.detach().numpy().tobytes())
        return NotImplemented


def _tensor(*_parts: object) -> None:
    """What a pickled tensor names; no key is ever read."""


def key(module: nn.Module, examples: Any, *options: object) -> str | None:
    """What an export depends on, as a hash; None of a module that cannot be written down."""
    written = io.BytesIO()
    code = [id(type(layer).forward) for layer in module.modules()]
    code += [id(one) for one in (*passes.PASSES, onnx_graph._trace, onnx_graph._without_unfold, torch.onnx.export)]
    code += [
        id(value)
        for name, loaded in sorted(sys.modules.items())
        if name.startswith(RUNS)
        for value in vars(loaded).values()
        if callable(value)
    ]
    try:
        _Values(written).dump((module, examples, code, onnx_graph.LARGEST, options))
    except (pickle.PicklingError, AttributeError, TypeError, NotImplementedError):  # a local class, a lambda
        return None
    return hashlib.sha256(written.getvalue()).hexdigest()


class Shared:
    """The exports of this process, by key."""

    def __init__(self, honest: Callable[..., onnx.ModelProto]) -> None:
        self._honest = honest
        self._made: dict[str, bytes] = {}
        self._off = False

    def __call__(self, module: nn.Module, examples: Any, names: Any, *, dynamic: bool, ships: bool) -> onnx.ModelProto:
        """The graph of a module as `graph.export._passed` makes it; what raises is tried each time."""
        found = None if self._off else key(module, examples, names, dynamic, ships)
        if found is None:
            return self._honest(module, examples, names, dynamic=dynamic, ships=ships)
        if found not in self._made:
            made = self._honest(module, examples, names, dynamic=dynamic, ships=ships)
            self._made[found] = made.SerializeToString(deterministic=True)
        return onnx.ModelProto.FromString(self._made[found])

    @contextmanager
    def turned_off(self) -> Iterator[None]:
        """Export anew each time."""
        self._off = True
        try:
            yield
        finally:
            self._off = False


@pytest.fixture(scope="session", autouse=True)
def shared_exports() -> Iterator[Shared]:
    """Share exports for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        shared = Shared(onnx_graph._passed)
        patch.setattr(onnx_graph, "_passed", shared)
        yield shared


@pytest.fixture
def own_export(shared_exports: Shared) -> Iterator[None]:
    """Export anew in this test."""
    with shared_exports.turned_off():
        yield
