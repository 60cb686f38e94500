"""What can be changed in a file: one place of its syntax tree a mutant.

Given    if agreeing < 0.5 * images:        in `_enough`
Result   comparison  `agreeing < 0.5 * images` -> `agreeing <= 0.5 * images`
         constant    `0.5` -> `0.625`
         other       `0.5 * images` -> `0.5 / images`
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

EDGES = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq}
MEMBERS = {ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
COMPARISONS = {**EDGES, **MEMBERS}
ARITHMETIC = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}
CALLS = {"all": "any", "any": "all", "min": "max", "max": "min", "ceil": "floor", "floor": "ceil"}
# Near enough that a test has to know the limit, far enough that rounding does not decide.
FACTOR = 1.25
# Neither annotations nor `frozen=True`, nor the `strict=True` of a zip over what has one length, decide anything.
UNCHANGED = {"annotation", "returns", "decorator_list"}
SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Mutant:
    """One change: `path::scope::kind::before -> after::which of them`, the same as long as the code there is."""

    path: str
    scope: str  # `Class.function`, or "" at the top of the module
    kind: str  # constant, comparison, default or other
    before: str
    after: str
    ordinal: int
    line: int
    names: tuple[str, ...]  # what the statement binds, where it runs at import

    @property
    def key(self) -> str:
        """What results are kept under."""
        return f"{self.path}::{self.scope}::{self.kind}::{self.before} -> {self.after}::{self.ordinal}"


@dataclass(frozen=True)
class _Place:
    steps: tuple[tuple[str, int | None], ...]  # fields and indices from the tree's root
    scope: str
    kind: str
    names: tuple[str, ...]


def mutants(path: str, source: str) -> list[tuple[Mutant, ast.Module]]:
    """Every mutant of a file with its tree, in the file's order."""
    tree = ast.parse(source)
    found: list[tuple[Mutant, ast.Module]] = []
    ordinals: dict[tuple[str, ...], int] = {}
    for place in _places(tree, (), "", (), in_default=False):
        node = _at(tree, place.steps)
        for kind, changed in _changes(node, place.kind):
            before, after = ast.unparse(node), ast.unparse(changed)
            alike = (place.scope, kind, before, after)
            ordinals[alike] = ordinals.get(alike, -1) + 1
            mutant = Mutant(path, place.scope, kind, before, after, ordinals[alike], node.lineno, place.names)
            found.append((mutant, _replaced(tree, place.steps, changed)))
    return found


def _places(
    node: ast.AST,
    steps: tuple[tuple[str, int | None], ...],
    scope: str,
    names: tuple[str, ...] | None,
    *,
    in_default: bool,
) -> Iterator[_Place]:
    """Each expression and statement; `names` are those that its statement binds at import, None within a function."""
    if isinstance(node, ast.JoinedStr) or _is_text(node) or _is_strict(node):  # messages, docstrings
        return
    if isinstance(node, (ast.expr, ast.stmt)):
        yield _Place(steps, scope, "default" if in_default else "", names or ())
    if isinstance(node, ast.arguments):
        in_default = True
    if isinstance(node, ast.Assign | ast.AnnAssign) and names is not None:
        names = (*names, *_bound(node))
    for field, value in ast.iter_fields(node):
        if field in UNCHANGED:
            continue
        inner, bound = scope, names
        if isinstance(node, SCOPES) and field == "body":
            inner = f"{scope}.{node.name}".lstrip(".")
            bound = (*(names or ()), node.name) if isinstance(node, ast.ClassDef) else None
        elif isinstance(node, SCOPES):  # decorators and defaults run where the definition stands, and act within it
            inner = f"{scope}.{node.name}".lstrip(".")
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not _is_rest_of_shape(node, child):
                step = (field, index if isinstance(value, list) else None)
                yield from _places(child, (*steps, step), inner, bound, in_default=in_default)


def _bound(node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
    for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
        yield from (part.id for part in ast.walk(target) if isinstance(part, ast.Name))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_strict(node: ast.AST) -> bool:
    return isinstance(node, ast.keyword) and node.arg == "strict"


def _is_rest_of_shape(call: ast.AST, argument: ast.AST) -> bool:
    """Whether it is the -1 of a `reshape`, for which NumPy takes any negative number."""
    reshapes = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "reshape"
    return reshapes and ast.unparse(argument) == "-1"


def _changes(node: ast.AST, kind: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, ast.Constant):
        yield from ((kind or "constant", ast.Constant(value)) for value in _values(node.value, in_default=bool(kind)))
    elif isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            if type(operator) in COMPARISONS:
                changed = copy.deepcopy(node)
                changed.ops[index] = COMPARISONS[type(operator)]()
                yield "comparison", changed
    elif (changed := _other(node)) is not None:
        yield "other", changed


def _values(value: object, *, in_default: bool) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from {value + 1, round(value * FACTOR)} if value > 8 else {value + 1}
    elif isinstance(value, float):
        yield from (value * FACTOR, value / FACTOR) if value else (FACTOR,)
    elif isinstance(value, str) and in_default:
        yield value + "_"


def _other(node: ast.AST) -> Any:
    changed: Any = copy.copy(node)
    if isinstance(node, ast.BoolOp):
        changed.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        changed.op = ARITHMETIC[type(node.op)]()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub):
        return node.operand
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in CALLS:
        changed.func = ast.Name(CALLS[node.func.id], ast.Load())
    elif isinstance(node, ast.Raise | ast.Continue | ast.Break) or _for_its_effect(node):
        return ast.Pass()
    elif isinstance(node, ast.IfExp):
        changed.body, changed.orelse = node.orelse, node.body
    else:
        return None
    return changed


def _for_its_effect(node: ast.AST) -> bool:
    """Whether a statement is a call alone: a check, a write."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _at(tree: ast.AST, steps: tuple[tuple[str, int | None], ...]) -> Any:
    node: Any = tree
    for field, index in steps:
        node = getattr(node, field)
        node = node if index is None else node[index]
    return node


def _replaced(tree: ast.Module, steps: tuple[tuple[str, int | None], ...], changed: Any) -> ast.Module:
    """A copy of the tree with a node replaced; what is not on the way to it is shared."""
    if not steps:
        return changed  # type: ignore[no-any-return]
    (field, index), rest = steps[0], steps[1:]
    copied = copy.copy(tree)
    value = getattr(tree, field)
    if index is None:
        setattr(copied, field, _replaced(value, rest, changed))
    else:
        setattr(copied, field, [*value[:index], _replaced(value[index], rest, changed), *value[index + 1 :]])
    return copied
