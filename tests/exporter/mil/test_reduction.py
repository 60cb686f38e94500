from typing import Any

import numpy as np

from slide_export.mil import Evaluator

TOLERANCE = 1e-5
X = np.random.default_rng(0).uniform(0.5, 2, (2, 3, 7)).astype(np.float32)


def test_against_numpy(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    names = ("sum", "mean", "max", "min", "prod", "l1_norm", "l2_norm", "sum_square", "log_sum", "log_sum_exp")

    @B.program(input_specs=[B.TensorSpec(shape=X.shape)])
    def program(x: Any) -> Any:
        reductions = [getattr(B, f"reduce_{name}")(x=x, axes=[0, -1], keep_dims=True, name=name) for name in names]
        values, order = B.topk(x=x, k=2, axis=-1, ascending=False, name="topk")
        return (
            *reductions,
            B.reduce_argmax(x=x, axis=2, name="argmax"),
            B.reduce_argmin(x=x, axis=1, keep_dims=True, name="argmin"),
            B.softmax(x=x, axis=1, name="softmax"),
            B.cumsum(x=x, axis=2, exclusive=True, reverse=True, name="cumsum"),
            B.argsort(x=x, axis=-1, ascending=True, name="argsort"),
            B.identity(x=values, name="largest"),
            B.identity(x=order, name="where"),
        )

    found = Evaluator(save(program)).run({"x": X})
    a = X.astype(np.float64)

    def over(function: Any, values: Any) -> Any:
        return function(values, axis=(0, 2), keepdims=True)

    flipped = a[..., ::-1]
    expected = {
        "sum": over(np.sum, a),
        "mean": over(np.mean, a),
        "max": over(np.max, a),
        "min": over(np.min, a),
        "prod": over(np.prod, a),
        "l1_norm": over(np.sum, np.abs(a)),
        "l2_norm": np.sqrt(over(np.sum, a**2)),
        "sum_square": over(np.sum, a**2),
        "log_sum": np.log(over(np.sum, a)),
        "log_sum_exp": np.log(over(np.sum, np.exp(a))),
        "argmax": a.argmax(2),
        "argmin": a.argmin(1)[:, None],
        "softmax": np.exp(a) / np.exp(a).sum(1, keepdims=True),
        "cumsum": (flipped.cumsum(-1) - flipped)[..., ::-1],
        "argsort": a.argsort(-1),
        "largest": np.sort(a)[..., :-3:-1],
        "where": np.argsort(-a)[..., :2],
    }
    errors = {name: np.abs(found[name] - value).max() / np.abs(value).max() for name, value in expected.items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}
