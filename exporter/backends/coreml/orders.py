"""Gathers that follow an order which the program sorts itself, and are no Im2Col."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slide_export.mil import Package
    from slide_export.mil.program import Binding

SORTS = frozenset({"topk", "argsort"})
VIEWS = frozenset({"reshape", "expand_dims", "squeeze", "tile", "transpose", "cast", "slice_by_index", "split"})
"""What repeats or moves the indices of a gather, and makes none."""


def by_order(package: Package) -> frozenset[str]:
    """Names of the gathers of whole elements whose indices a sort made.

    Given    topk -> (values, indices); indices -> expand_dims -> tile -> gather_along_axis(x)
    Result   the gather_along_axis
    """
    orders: set[str] = set()
    arranged: set[str] = set()
    for operation in package.operations():
        results = {output.name for output in operation.outputs}
        ordered = {operand for operand, values in operation.bindings() if _names(values) & orders}
        if operation.type in SORTS:
            orders.add(operation.outputs[-1].name)  # topk gives values, then indices
        elif operation.type == "gather_along_axis" and "indices" in ordered:
            arranged.add(operation.name)
            if "x" in ordered:  # an order of an order
                orders |= results
        elif operation.type in VIEWS and "x" in ordered:
            orders |= results
    return frozenset(arranged)


def _names(values: tuple[Binding, ...]) -> set[str]:
    return {value.name for value in values if hasattr(value, "name")}
