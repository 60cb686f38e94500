import math
from collections.abc import Callable
from typing import Any

import numpy as np

from slide_export.mil import Evaluator

TOLERANCE = 2e-6  # float32 functions against float64 ones, relative to the largest value

X = np.random.default_rng(0).uniform(-3, 3, (2, 5))
Y = np.random.default_rng(1).uniform(0.5, 3, (2, 5))
erf = np.vectorize(math.erf)

# operation, its further operands, and the same in numpy
CASES: dict[str, tuple[dict[str, Any], Callable[..., Any]]] = {
    "relu": ({}, lambda x: np.maximum(x, 0)),
    "leaky_relu": ({"alpha": 0.1}, lambda x: np.where(x > 0, x, 0.1 * x)),
    "elu": ({"alpha": 0.5}, lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
    "silu": ({}, lambda x: x / (1 + np.exp(-x))),
    "sigmoid": ({}, lambda x: 1 / (1 + np.exp(-x))),
    "sigmoid_hard": ({"alpha": 0.2, "beta": 0.5}, lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "softplus": ({}, lambda x: np.log1p(np.exp(x))),
    "tanh": ({}, np.tanh),
    "erf": ({}, erf),
    "exp": ({}, np.exp),
    "abs": ({}, np.abs),
    "square": ({}, np.square),
    "clip": ({"alpha": -1.0, "beta": 2.0}, lambda x: np.clip(x, -1, 2)),
    "floor": ({}, np.floor),
    "round": ({}, np.round),
    "sign": ({}, np.sign),
    "threshold": ({"alpha": 0.5}, lambda x: np.maximum(x, 0.5)),
}
GELUS: dict[str, Callable[..., Any]] = {
    "EXACT": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "TANH_APPROXIMATION": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "SIGMOID_APPROXIMATION": lambda x: x / (1 + np.exp(-1.702 * x)),
}
PAIRS: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.divide,
    "floor_div": np.floor_divide,
    "mod": np.mod,
    "maximum": np.maximum,
    "minimum": np.minimum,
}


def close(found: Any, expected: Any) -> bool:
    return bool(np.abs(found - expected).max() <= TOLERANCE * max(1.0, np.abs(expected).max()))


def test_against_numpy(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=X.shape), Builder.TensorSpec(shape=Y.shape)])
    def program(x: Any, y: Any) -> Any:
        one = [
            getattr(Builder, name)(x=x, name=name, **{k: np.float32(v) for k, v in more.items()})
            for name, (more, _) in CASES.items()
        ]
        gelus = [Builder.gelu(x=x, mode=mode, name=mode) for mode in GELUS]
        positive = [Builder.log(x=y, name="log"), Builder.rsqrt(x=y, name="rsqrt"), Builder.pow(x=y, y=x, name="pow")]
        chosen = [Builder.select(cond=Builder.greater(x=x, y=y), a=x, b=y, name="select")]
        return tuple(one + gelus + positive + chosen + [getattr(Builder, n)(x=x, y=y, name=n) for n in PAIRS])

    x, y = X.astype(np.float32), Y.astype(np.float32)
    found = Evaluator(save(program)).run({"x": x, "y": y})
    a, b = x.astype(np.float64), y.astype(np.float64)
    expected = {name: function(a) for name, (_, function) in CASES.items()}
    expected |= {mode: function(a) for mode, function in GELUS.items()}
    expected |= {name: function(a, b) for name, function in PAIRS.items()}
    expected |= {"log": np.log(b), "rsqrt": 1 / np.sqrt(b), "pow": b**a, "select": np.where(a > b, a, b)}
    assert [name for name, value in expected.items() if not close(found[name], value)] == []


def test_cast_truncates_towards_zero(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(4,))])
    def program(x: Any) -> Any:
        return Builder.cast(x=x, dtype="int32", name="y")

    found = Evaluator(save(program)).run({"x": np.array([-1.7, -0.2, 0.9, 2.5], np.float32)})["y"]
    assert found.dtype == np.int32
    assert found.tolist() == [-1, 0, 0, 2]
