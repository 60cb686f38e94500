"""Matrix products.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/linear.py` and `iOS18/transformers.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor

from .arguments import Arguments, Kernel, kernel


def _linear(a: Arguments) -> Tensor:
    return functional.linear(a.tensor("x"), a.tensor("weight"), a.optional("bias"))


def _matmul(a: Arguments) -> Tensor:
    x, y = a.tensor("x"), a.tensor("y")
    # Transposing has no effect on a vector (docstring of `matmul`).
    x = x.mT if a.flag("transpose_x", False) and x.dim() > 1 else x
    y = y.mT if a.flag("transpose_y", False) and y.dim() > 1 else y
    return torch.matmul(x, y)


def _einsum(a: Arguments) -> Tensor:
    product: Tensor = torch.einsum(a.text("equation"), *a.tensors("values"))
    return product


def _scaled_dot_product_attention(a: Arguments) -> Tensor:
    """`softmax(q @ k.T / sqrt(E) + mask) @ v`, float32 throughout: where a device rounds inside is not declared."""
    query, key = a.tensor("query"), a.tensor("key")
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    mask = a.optional("attn_mask")
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, -math.inf)  # true: may be seen
    elif mask is not None:
        scores = scores + mask
    return torch.softmax(scores, -1) @ a.tensor("value")


TABLE: Mapping[str, Kernel] = {
    "einsum": kernel(_einsum, "values equation"),
    "linear": kernel(_linear, "x weight bias"),
    "matmul": kernel(_matmul, "x y transpose_x transpose_y"),
    "scaled_dot_product_attention": kernel(_scaled_dot_product_attention, "query key value attn_mask"),
}
