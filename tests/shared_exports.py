"""One export to ONNX for all tests that export the same model, in every process of a session: most of an export's time.

The key holds everything that the result depends on: every value of the module and its inputs, the code that runs, so
that a patched function or constant is another key, and the options. A test of the export itself asks for `own_export`.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import importlib
import io
import os
import pickle
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, MappingProxyType
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from slide_export.graph import export as onnx_graph
from slide_export.graph import passes

from .kept import of_session

RUNS = ("slide_export.models", "slide_export.inference", "slide_export.tasks", "slide_export.graph")
"""Packages whose functions run while a model is traced; a test may plant a fault in any."""
OURS = ("slide_export", "tests")
PLAIN = (int, float, str, bytes, tuple, frozenset)
"""Constants that a test may change as well."""


class _Values(pickle.Pickler):
    """Tensors by their values, not by their addresses; functions by where they are written."""

    def reducer_override(self, value: object) -> Any:
        if isinstance(value, Tensor):
            return _tensor, (str(value.dtype), tuple(value.shape), value.detach().numpy().tobytes())
        return NotImplemented


def _tensor(*_parts: object) -> None:
    """What a pickled tensor names; no key is ever read."""


_kept: list[object] = []  # what is known by its address alone, so that nothing else ever gets that address


def _own(value: object) -> tuple[object, ...]:
    """A token of something that no other process can have, nor another object of this one."""
    if not any(one is value for one in _kept):
        _kept.append(value)
    return "of this process", os.getpid(), id(value)


def code(value: Any) -> tuple[object, ...]:
    """A token of a function or class, or what else can be called: equal in two processes where its source is."""
    if isinstance(value, functools.partial):
        return "partial", code(value.func), *map(_told, (*value.args, *sorted(value.keywords.items())))
    if isinstance(value, Shared):
        return code(value.honest)
    value = getattr(value, "__wrapped__", value)  # a cache, a context manager
    if isinstance(value, type):
        if "<locals>" in value.__qualname__:
            return _own(value)
        ours = value.__module__.startswith(OURS)  # others' code is one and the same for a session
        inside = [
            (name, code(one)) for name, one in sorted(vars(value).items()) if isinstance(one, FunctionType) and ours
        ]
        return "class", value.__module__, value.__qualname__, *inside
    if not isinstance(value, FunctionType):
        return _told(value)
    known = _functions.get(id(value))
    if known is None or known[1] is not value.__code__:  # a mutant changes it in place
        known = _functions[id(value)] = value, value.__code__, _function(value)
    return known[2]


_functions: dict[int, tuple[FunctionType, CodeType, tuple[object, ...]]] = {}  # by address, which they keep


def _function(value: FunctionType) -> tuple[object, ...]:
    written, place = value.__code__, (value.__module__, value.__qualname__)
    if not _is_file(written.co_filename):
        return "made", *place, written.co_code  # by a dataclass, say, whose fields tell
    cells = zip(written.co_freevars, value.__closure__ or (), strict=True)
    around = [_told(cell.cell_contents) for name, cell in cells if name != "__class__"]
    around += [_told(value.__defaults__ or ()), _told(tuple(sorted((value.__kwdefaults__ or {}).items())))]
    return "function", *place, written.co_filename, written.co_firstlineno, _instructions(written), *around


def _instructions(written: CodeType) -> tuple[object, ...]:
    """What a function does, and those in it."""
    constants = (_instructions(one) if isinstance(one, CodeType) else _told(one) for one in written.co_consts)
    return written.co_code, written.co_names, *constants


@functools.cache
def _is_file(name: str) -> bool:
    return Path(name).is_file()


def _told(value: object) -> tuple[object, ...]:
    """A token of any value: what it is written as, where that says all of it."""
    if isinstance(value, type):
        return "class", value.__module__, value.__qualname__
    if isinstance(value, FunctionType | functools.partial):
        return code(value)
    if isinstance(value, tuple | list):
        return "several", *map(_told, value)
    if isinstance(value, dict | MappingProxyType):
        return "mapping", *((repr(name), _told(one)) for name, one in value.items())
    if isinstance(value, set | frozenset):
        return "set", *sorted(map(repr, value))  # in an order of no process
    said = repr(value)
    if " at 0x" not in said:
        return "value", said
    held = getattr(value, "__dict__", None)
    return _own(value) if held is None else ("object", type(value).__qualname__, _told(held))


def _inside(module: nn.Module) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each layer's name, class and values; its layers come by themselves, and its sets in an order of no process."""
    for name, layer in module.named_modules():
        held = {found: value for found, value in vars(layer).items() if found != "_modules"}
        yield name, type(layer).__qualname__, {
            found: sorted(value) if isinstance(value, set) else value for found, value in held.items()
        }  # fmt: skip


_known: list[tuple[list[object], str]] = []  # what ran at the last key, and its hash


def _runs() -> str:
    """A hash of all functions, classes and constants that may run; quick where they are those of the last time."""
    named = [
        (name, found, value)
        for name, loaded in sorted(sys.modules.items())
        if name.startswith(RUNS)
        for found, value in sorted(vars(loaded).items())
        if callable(value) or (found.isupper() and isinstance(value, PLAIN))
    ]
    inside = [one for _, _, value in named if isinstance(value, type) for one in vars(value).values()]
    here = [*(value for _, _, value in named), *inside]
    here += [one.__code__ for one in here if isinstance(one, FunctionType)]
    for before, told in _known:
        if len(before) == len(here) and all(one is other for one, other in zip(before, here, strict=True)):
            return told
    tokens = [(name, found, code(value) if callable(value) else _told(value)) for name, found, value in named]
    told = hashlib.sha256(repr(tokens).encode()).hexdigest()
    _known[:] = [*_known[-1:], (here, told)]
    return told


def key(module: nn.Module, examples: Any, *options: object) -> str | None:
    """What an export depends on, as a hash; None of a module that cannot be written down."""
    layers = sorted({repr(code(type(layer))) for layer in module.modules()})
    steps = [code(one) for one in (onnx_graph._trace, onnx_graph._without_unfold, torch.onnx.export)]
    steps += [(code(type(one)), _told(vars(one))) for one in passes.PASSES]
    written = io.BytesIO(repr((layers, steps, _runs(), options)).encode())
    written.seek(0, io.SEEK_END)
    values = _Values(written)
    values.fast = True  # by value, whichever of two equal ones is the same object
    try:
        values.dump((list(_inside(module)), examples))
    except (pickle.PicklingError, AttributeError, TypeError, NotImplementedError, RecursionError):  # a local class
        return None
    return hashlib.sha256(written.getvalue()).hexdigest()


class Shared:
    """The exports of a session, by key, in a directory that its processes share."""

    def __init__(self, honest: Callable[..., onnx.ModelProto], directory: Path) -> None:
        self.honest, self._directory = honest, directory
        directory.mkdir(exist_ok=True)
        self._off = False
        for package in RUNS:  # all of it, so that no key tells who imported what before
            found = importlib.import_module(package)
            for one in pkgutil.walk_packages(found.__path__, f"{package}."):
                importlib.import_module(one.name)

    def __call__(self, module: nn.Module, examples: Any, names: Any, *, dynamic: bool, ships: bool) -> onnx.ModelProto:
        """The graph of a module as `graph.export._passed` makes it; what raises is tried each time."""
        found = None if self._off else key(module, examples, names, dynamic, ships)
        if found is None:
            return self.honest(module, examples, names, dynamic=dynamic, ships=ships)
        kept = self._directory / f"{found}.onnx"
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be making it
            if not kept.exists():
                made = self.honest(module, examples, names, dynamic=dynamic, ships=ships)
                partial = kept.with_suffix(".partial")
                partial.write_bytes(made.SerializeToString(deterministic=True))
                partial.rename(kept)
        return onnx.ModelProto.FromString(kept.read_bytes())

    @contextmanager
    def turned_off(self) -> Iterator[None]:
        """Export anew each time."""
        self._off = True
        try:
            yield
        finally:
            self._off = False


@pytest.fixture(scope="session", autouse=True)
def shared_exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Share exports for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        shared = Shared(onnx_graph._passed, of_session(tmp_path_factory, "exports"))
        patch.setattr(onnx_graph, "_passed", shared)
        yield shared


@pytest.fixture
def own_export(shared_exports: Shared) -> Iterator[None]:
    """Export anew in this test."""
    with shared_exports.turned_off():
        yield
