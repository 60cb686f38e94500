"""Where a mutant acts: the functions whose tests may notice it."""

from __future__ import annotations

import ast
import functools

from .deciding import ROOT, SOURCES
from .mutate import Mutant
from .reach import functions


@functools.cache
def _sources() -> dict[str, ast.Module]:
    """Syntax tree of every file of the packages."""
    files = (file for part in SOURCES for file in sorted((ROOT / part).rglob("*.py")))
    return {str(file.relative_to(ROOT)): ast.parse(file.read_text()) for file in files}


@functools.cache
def _names_by_function() -> dict[str, frozenset[str]]:
    return {
        f"{path}::{scope}": frozenset(_used(node))
        for path, tree in _sources().items()
        for scope, node in functions(tree)
    }


def names(mutant: Mutant) -> frozenset[str]:
    """Names of its file that it changes: those its statement binds, and those made of them; none within a function."""
    found = set(mutant.names)
    for statement in _sources()[mutant.path].body * 2 if found else ():  # twice: a name made of a name
        if isinstance(statement, ast.Assign | ast.AnnAssign) and found & _used(statement):
            found |= {part.id for part in ast.walk(statement) if _stored(part)}  # type: ignore[attr-defined]
    return frozenset(found)


def places(mutant: Mutant) -> frozenset[str]:
    """`path::scope` of the functions in which it acts: its own, or every one that uses a name which it changes."""
    changed = names(mutant)
    users = {place for place, used in _names_by_function().items() if used & changed}
    return frozenset({f"{mutant.path}::{mutant.scope}"} | users)


def _stored(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _used(node: ast.AST) -> set[str]:
    found = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return found | {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
