"""Normalizations.

`local_response_norm` is left out: the values that coremltools' smoke test expects (iOS14/test_normalization.py) square
the element alone, its stress test and its documentation sum over neighbouring channels; Apple's fp16 tolerance of 0.5
hides the difference.

Source: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/normalization.py`, classes of the same name.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor

from .arguments import Arguments, Kernel, kernel, per_channel


def _layer_norm(a: Arguments) -> Tensor:
    x, gamma, beta = a.tensor("x"), a.optional("gamma"), a.optional("beta")
    epsilon = a.number("epsilon", 1e-5)
    axes = sorted(axis % x.dim() for axis in a.integers("axes", range(x.dim())))
    if axes == list(range(axes[0], x.dim())):  # the trailing axes: what torch has a kernel for
        return functional.layer_norm(x, x.shape[axes[0] :], gamma, beta, epsilon)
    deviation = x - x.mean(axes, keepdim=True)
    y = deviation * torch.rsqrt(deviation.square().mean(axes, keepdim=True) + epsilon)
    # Gamma and beta have the normalised axes alone.
    shape = [size if axis in axes else 1 for axis, size in enumerate(x.shape)]
    y = y if gamma is None else y * gamma.reshape(shape)
    return y if beta is None else y + beta.reshape(shape)


def _affine(a: Arguments, y: Tensor) -> Tensor:
    """`gamma * y + beta`, both per channel and both optional."""
    gamma, beta = a.optional("gamma"), a.optional("beta")
    y = y if gamma is None else y * per_channel(gamma, y.dim())
    return y if beta is None else y + per_channel(beta, y.dim())


def _batch_norm(a: Arguments) -> Tensor:
    x = a.tensor("x")
    mean, variance = (per_channel(a.tensor(name), x.dim()) for name in ("mean", "variance"))
    return _affine(a, (x - mean) / torch.sqrt(variance + a.number("epsilon", 1e-5)))


def _instance_norm(a: Arguments) -> Tensor:
    x = a.tensor("x")
    axes = list(range(2, x.dim()))  # the spatial ones of (N, C, ...)
    deviation = x - x.mean(axes, keepdim=True)
    variance = deviation.square().mean(axes, keepdim=True)
    return _affine(a, deviation / torch.sqrt(variance + a.number("epsilon", 1e-5)))


def _l2_norm(a: Arguments) -> Tensor:
    x = a.tensor("x")
    total = x.square().sum((-3, -2, -1), keepdim=True)  # over channels, rows and columns of each item
    return x / torch.sqrt(total + a.number("epsilon", 1e-6))


TABLE: Mapping[str, Kernel] = {
    "batch_norm": kernel(_batch_norm, "x mean variance gamma beta epsilon"),
    "instance_norm": kernel(_instance_norm, "x gamma beta epsilon"),
    "l2_norm": kernel(_l2_norm, "x epsilon"),
    "layer_norm": kernel(_layer_norm, "x axes gamma beta epsilon"),
}
