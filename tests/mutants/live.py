"""A mutant put into a process that has imported everything: one function's code or defaults, or values of some names.

What these do not reach, a class's own statements for instance, needs a new import (`trial.imported`).
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.machinery
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

from . import acts
from .deciding import ROOT
from .mutate import Mutant

PACKAGES = ("slide_export", "tests")


def put(mutant: Mutant, tree: ast.Module) -> bool:
    """Change this process; False where the mutant cannot be put so."""
    code = compile(ast.fix_missing_locations(tree), str(ROOT / mutant.path), "exec")
    module = importlib.import_module(_module_name(mutant.path))
    if mutant.names:
        return _put_values(module, code, acts.names(mutant))
    return _put_function(module, code, mutant.scope, defaults=mutant.kind == "default")


def import_changed(path: str, tree: ast.Module) -> None:
    """Let this process import a tree in the place of a file that it has not imported yet."""
    original, file = importlib.machinery.SourceFileLoader.get_code, ROOT / path
    code = compile(ast.fix_missing_locations(tree), str(file), "exec")

    def get_code(self: Any, fullname: str) -> CodeType | None:
        """The changed code of that file, any other's own."""
        return code if Path(self.path).resolve() == file else original(self, fullname)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign]


def _module_name(path: str) -> str:
    parts = Path(path).with_suffix("").parts
    inner = parts[1:] if parts[0] == "exporter" else parts
    return ".".join(("slide_export", *(part for part in inner if part != "__init__")))


def _put_function(module: ModuleType, code: CodeType, scope: str, *, defaults: bool) -> bool:
    """Give a function its changed code or defaults; of a nested one, its outermost function the code that makes it."""
    found, name = _outermost(vars(module), scope)
    function = _unwrapped(found)
    if defaults:
        made = _unwrapped(_outermost(_run_beside(module, code), scope)[0])
        if function is None or made is None or name != scope:
            return False
        function.__defaults__, function.__kwdefaults__ = made.__defaults__, made.__kwdefaults__
    else:
        changed = next((one for one in _codes(code) if one.co_qualname == name), None)
        if function is None or changed is None or function.__code__.co_freevars != changed.co_freevars:
            return False
        function.__code__ = changed
    if hasattr(found, "cache_clear"):
        found.cache_clear()
    return True


def _outermost(names: Mapping[str, Any], scope: str) -> tuple[Any, str]:
    """The first of `Class.function.inner` that is no class, and its name: `Class.function`."""
    found: Any = None
    done: list[str] = []
    for part in scope.split("."):
        found = names.get(part)
        done.append(part)
        if not isinstance(found, type):
            break
        names = vars(found)
    return found, ".".join(done)


def _run_beside(module: ModuleType, code: CodeType) -> dict[str, Any]:
    made = {key: value for key, value in vars(module).items() if key.startswith("__")}
    exec(code, made)  # our own file
    return made


def _unwrapped(found: Any) -> FunctionType | None:
    if isinstance(found, property):
        found = found.fget
    elif isinstance(found, functools.cached_property):
        found = found.func
    elif isinstance(found, staticmethod | classmethod):
        found = found.__func__
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    return found if isinstance(found, FunctionType) else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _put_values(module: ModuleType, code: CodeType, names: frozenset[str]) -> bool:
    """Run the changed file beside the module, and give the names what they have there, wherever they were imported."""
    made = _run_beside(module, code)
    before = {name: getattr(module, name) for name in names if hasattr(module, name)}
    if not before or any(isinstance(value, type | FunctionType) for value in before.values()):
        return False
    for name in [one for one in sys.modules if one.split(".")[0] in PACKAGES]:
        inside = vars(sys.modules[name])
        for key, value in before.items():
            if inside.get(key) is value:
                inside[key] = made[key]
    return True
