"""Reductions, softmax, and the orderings along an axis.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/{reduction,activation,tensor_operation}.py` and
`iOS17/{reduction,tensor_operation}.py`, classes of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from .arguments import Arguments, Kernel, kernel
from .program import STORAGE

Reduction = Callable[[Tensor, list[int], bool], Tensor]


def _over_axes(function: Reduction) -> Kernel:
    """A kernel that reduces the dimensions `axes`, all of them by default."""

    def compute(a: Arguments) -> Tensor:
        """Reduce over `axes`, all of them where none is given."""
        x = a.tensor("x")
        return function(x, a.integers("axes", range(x.dim())), a.flag("keep_dims", False))

    return kernel(compute, "x axes keep_dims")


def _float(function: Reduction) -> Kernel:
    """The same for functions that torch has for floats only; an integer result is rounded by its declared type."""
    return _over_axes(lambda x, axes, keep: function(x.to(torch.float32), axes, keep))


def _prod(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    # From the last: dropping one moves those behind it.
    for axis in sorted((axis % x.dim() for axis in axes), reverse=True):
        x = torch.prod(x, axis, keepdim=keep)
    return x


def _sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.sum(x, axes, keepdim=keep)


def _argument(function: Callable[[Tensor, int, bool], Tensor]) -> Kernel:
    """A kernel that returns positions along one axis."""

    def compute(a: Arguments) -> Tensor:
        """Index along `axis`, the last where none is given."""
        if "output_dtype" in a:
            a.one_of("output_dtype", None, *STORAGE)  # the declared type of the output says the same
        return function(a.tensor("x"), a.integer("axis", -1), a.flag("keep_dims", False))

    return kernel(compute, "x axis keep_dims output_dtype")


def _softmax(a: Arguments) -> Tensor:
    return torch.softmax(a.tensor("x"), a.integer("axis", -1))


def _cumsum(a: Arguments) -> Tensor:
    x, axis = a.tensor("x"), a.integer("axis", 0)
    backwards = a.flag("reverse", False)
    ordered = x.flip(axis) if backwards else x
    total = torch.cumsum(ordered, axis)
    if a.flag("exclusive", False):
        total = total - ordered  # without the element itself
    return total.flip(axis) if backwards else total


def _argsort(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return torch.argsort(x, dim=a.integer("axis", -1), descending=not a.flag("ascending", False), stable=True)


def _topk(a: Arguments) -> tuple[Tensor, ...]:
    if not a.flag("sort", True):
        raise a.fail("sort=False leaves the order undefined and is not implemented")
    x, axis, k = a.tensor("x"), a.integer("axis", -1), a.integer("k", 1)
    k = x.shape[axis] if k == -1 else k  # -1: all of them
    # A stable sort: of equal elements the first one comes first, as in `value_inference`.
    order = torch.argsort(x, dim=axis, descending=not a.flag("ascending", False), stable=True)
    order = order.narrow(axis, 0, k)
    values = torch.gather(x, axis, order)
    return (values, order)[: len(a.operation.outputs)]  # a program may declare the values alone


TABLE: Mapping[str, Kernel] = {
    "argsort": kernel(_argsort, "x axis ascending"),
    "cumsum": kernel(_cumsum, "x axis exclusive reverse"),
    "reduce_argmax": _argument(lambda x, axis, keep: torch.argmax(x, axis, keepdim=keep)),
    "reduce_argmin": _argument(lambda x, axis, keep: torch.argmin(x, axis, keepdim=keep)),
    "reduce_l1_norm": _over_axes(lambda x, axes, keep: _sum(torch.abs(x), axes, keep)),
    "reduce_l2_norm": _float(lambda x, axes, keep: torch.sqrt(_sum(torch.square(x), axes, keep))),
    "reduce_log_sum": _float(lambda x, axes, keep: torch.log(_sum(x, axes, keep))),
    "reduce_log_sum_exp": _float(lambda x, axes, keep: torch.logsumexp(x, axes, keepdim=keep)),
    "reduce_max": _over_axes(lambda x, axes, keep: torch.amax(x, axes, keepdim=keep)),
    "reduce_mean": _float(lambda x, axes, keep: torch.mean(x, axes, keepdim=keep)),
    "reduce_min": _over_axes(lambda x, axes, keep: torch.amin(x, axes, keepdim=keep)),
    "reduce_prod": _over_axes(_prod),
    "reduce_sum": _over_axes(_sum),
    "reduce_sum_square": _over_axes(lambda x, axes, keep: _sum(torch.square(x), axes, keep)),
    "softmax": kernel(_softmax, "x axis"),
    "topk": kernel(_topk, "x k axis ascending sort return_indices output_indices_dtype"),
}
