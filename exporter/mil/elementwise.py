"""Operations that treat every element alone: activations, arithmetic, comparisons, casts.

Source of every formula: coremltools 9.0 `converters/mil/mil/ops/defs/iOS15/{activation,elementwise_unary,
elementwise_binary}.py` and `iOS17/{activation,elementwise_unary}.py`, docstring and `value_inference` of the class of
the same name.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as functional
from torch import Tensor

from .arguments import Arguments, Kernel, binary, kernel, per_channel, unary
from .program import STORAGE

SIGMOID_GELU_SLOPE = 1.702


def _gelu(a: Arguments) -> Tensor:
    mode = a.one_of("mode", "EXACT", "EXACT", "TANH_APPROXIMATION", "SIGMOID_APPROXIMATION")
    x = a.tensor("x")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(SIGMOID_GELU_SLOPE * x)
    return functional.gelu(x, approximate="none" if mode == "EXACT" else "tanh")


def _clamped_relu(a: Arguments) -> Tensor:
    x, alpha, beta = a.tensor("x"), a.tensor("alpha"), a.tensor("beta")
    return torch.minimum(torch.where(x >= 0, x, alpha * x), beta)


def _softplus_parametric(a: Arguments) -> Tensor:
    x = a.tensor("x")
    alpha, beta = (per_channel(a.tensor(name), x.dim()) for name in ("alpha", "beta"))
    return alpha * functional.softplus(x * beta)


def _prelu(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return torch.where(x > 0, x, per_channel(a.tensor("alpha"), x.dim()) * x)


def _elu(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return torch.where(x > 0, x, a.tensor("alpha") * torch.expm1(x))  # exp(x) - 1 would lose digits near 0


def _leaky_relu(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return torch.where(x >= 0, x, a.tensor("alpha") * x)


def _thresholded_relu(a: Arguments) -> Tensor:
    x = a.tensor("x")
    return torch.where(x >= a.tensor("alpha"), x, torch.zeros_like(x))


def _sigmoid_hard(a: Arguments) -> Tensor:
    return torch.clamp(a.tensor("alpha") * a.tensor("x") + a.tensor("beta"), 0.0, 1.0)


def _scaled_tanh(a: Arguments) -> Tensor:
    return a.tensor("alpha") * torch.tanh(a.tensor("beta") * a.tensor("x"))


def _linear_activation(a: Arguments) -> Tensor:
    return a.tensor("alpha") * a.tensor("x") + a.tensor("beta")


def _clip(a: Arguments) -> Tensor:
    return torch.clamp(a.tensor("x"), a.number("alpha", 0.0), a.number("beta", 0.0))


def _threshold(a: Arguments) -> Tensor:
    return torch.maximum(a.tensor("x"), a.tensor("alpha"))


def _log(a: Arguments) -> Tensor:
    return torch.log(a.tensor("x") + a.number("epsilon", 1e-45))


def _rsqrt(a: Arguments) -> Tensor:
    return torch.rsqrt(a.tensor("x") + a.number("epsilon", 1e-12))


def _inverse(a: Arguments) -> Tensor:
    return torch.reciprocal(a.tensor("x") + a.number("epsilon", 1e-4))


def _cast(a: Arguments) -> Tensor:
    x = a.tensor("x")
    target = a.one_of("dtype", None, *STORAGE)
    # A float in range is truncated towards zero; int64 first, because the step from float to a small type is undefined.
    if x.is_floating_point() and target.startswith(("int", "uint")):
        x = x.to(torch.int64)
    return x.to(STORAGE[target])


def _real_div(x: Tensor, y: Tensor) -> Tensor:
    """The quotient; of integers it is truncated by the integer type that the program declares for it."""
    return torch.true_divide(x, y)


def _select(a: Arguments) -> Tensor:
    return torch.where(a.tensor("cond").to(torch.bool), a.tensor("a"), a.tensor("b"))


TABLE: Mapping[str, Kernel] = {
    # activations
    "clamped_relu": kernel(_clamped_relu, "x alpha beta"),
    "elu": kernel(_elu, "x alpha"),
    "gelu": kernel(_gelu, "x mode"),
    "leaky_relu": kernel(_leaky_relu, "x alpha"),
    "linear_activation": kernel(_linear_activation, "x alpha beta"),
    "prelu": kernel(_prelu, "x alpha"),
    "relu": unary(torch.relu),
    "relu6": unary(functional.relu6),
    "scaled_tanh": kernel(_scaled_tanh, "x alpha beta"),
    "sigmoid": unary(torch.sigmoid),
    "sigmoid_hard": kernel(_sigmoid_hard, "x alpha beta"),
    "silu": unary(functional.silu),
    "softplus": unary(functional.softplus),
    "softplus_parametric": kernel(_softplus_parametric, "x alpha beta"),
    "softsign": unary(functional.softsign),
    "thresholded_relu": kernel(_thresholded_relu, "x alpha"),
    # one operand
    "abs": unary(torch.abs),
    "acos": unary(torch.acos),
    "asin": unary(torch.asin),
    "atan": unary(torch.atan),
    "atanh": unary(torch.atanh),
    "cast": kernel(_cast, "x dtype"),
    "ceil": unary(torch.ceil),
    "clip": kernel(_clip, "x alpha beta"),
    "cos": unary(torch.cos),
    "cosh": unary(torch.cosh),
    "erf": unary(torch.erf),
    "exp": unary(torch.exp),
    "exp2": unary(torch.exp2),
    "floor": unary(torch.floor),
    "identity": unary(lambda x: x),
    "inverse": kernel(_inverse, "x epsilon"),
    "log": kernel(_log, "x epsilon"),
    "logical_not": unary(torch.logical_not),
    "round": unary(torch.round),
    "rsqrt": kernel(_rsqrt, "x epsilon"),
    "sign": unary(torch.sign),
    "sin": unary(torch.sin),
    "sinh": unary(torch.sinh),
    "sqrt": unary(torch.sqrt),
    "square": unary(torch.square),
    "tan": unary(torch.tan),
    "tanh": unary(torch.tanh),
    "threshold": kernel(_threshold, "x alpha"),
    # two operands
    "add": binary(torch.add),
    "floor_div": binary(torch.floor_divide),
    "maximum": binary(torch.maximum),
    "minimum": binary(torch.minimum),
    "mod": binary(torch.remainder),
    "mul": binary(torch.mul),
    "pow": binary(torch.pow),
    "real_div": binary(_real_div),
    "sub": binary(torch.sub),
    # comparisons and logic
    "equal": binary(torch.eq),
    "greater": binary(torch.gt),
    "greater_equal": binary(torch.ge),
    "less": binary(torch.lt),
    "less_equal": binary(torch.le),
    "logical_and": binary(torch.logical_and),
    "logical_or": binary(torch.logical_or),
    "logical_xor": binary(torch.logical_xor),
    "not_equal": binary(torch.ne),
    "select": kernel(_select, "cond a b"),
}
