from typing import Any

import numpy as np

from slide_export.mil import Evaluator

TOLERANCE = 5e-6


def test_against_numpy(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 4, 5)).astype(np.float32)
    gamma, beta, mean, variance = (rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(4))
    last = rng.uniform(0.5, 2, 5).astype(np.float32)

    @B.program(input_specs=[B.TensorSpec(shape=x.shape)])
    def program(x: Any) -> Any:
        scale = {"gamma": gamma, "beta": beta, "epsilon": np.float32(1e-3)}
        return (
            B.layer_norm(x=x, axes=[-1], gamma=last, beta=last, epsilon=np.float32(1e-5), name="last"),
            B.layer_norm(x=x, axes=[1], **scale, name="channels"),
            B.batch_norm(x=x, mean=mean, variance=variance, **scale, name="batch"),
            B.instance_norm(x=x, **scale, name="instance"),
            B.l2_norm(x=x, epsilon=np.float32(1e-6), name="l2"),
        )

    found = Evaluator(save(program)).run({"x": x})
    a = x.astype(np.float64)
    g, b, m, v = (vector.astype(np.float64)[:, None, None] for vector in (gamma, beta, mean, variance))

    def standard(axes: Any, epsilon: float) -> Any:
        return (a - a.mean(axes, keepdims=True)) / np.sqrt(a.var(axes, keepdims=True) + epsilon)

    expected = {
        "last": standard(-1, 1e-5) * last + last,
        "channels": standard(1, 1e-3) * g + b,
        "batch": (a - m) / np.sqrt(v + 1e-3) * g + b,
        "instance": standard((2, 3), 1e-3) * g + b,
        "l2": a / np.sqrt((a**2).sum((1, 2, 3), keepdims=True) + 1e-6),
    }
    errors = {name: np.abs(found[name] - value).max() / np.abs(value).max() for name, value in expected.items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}
