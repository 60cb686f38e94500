from typing import Any

import numpy as np

from slide_export.mil import Evaluator

TOLERANCE = 1e-5  # sums of at most 96 float32 products, relative to the largest


def test_against_numpy(save: Any) -> None:
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(shape).astype(np.float32) for shape in ((2, 3, 4, 8), (2, 3, 5, 8)))
    weight, bias = rng.standard_normal((6, 8)).astype(np.float32), rng.standard_normal(6).astype(np.float32)

    @B.program(input_specs=[B.TensorSpec(shape=x.shape), B.TensorSpec(shape=y.shape)], opset_version=ct.target.iOS18)
    def program(x: Any, y: Any) -> Any:
        return (
            B.linear(x=x, weight=weight, bias=bias, name="linear"),
            B.matmul(x=x, y=y, transpose_y=True, name="matmul"),
            B.matmul(x=B.transpose(x=x, perm=[0, 1, 3, 2]), y=y, transpose_x=True, transpose_y=True, name="both"),
            B.einsum(values=(x, np.ones((2, 8, 1, 5), np.float32)), equation="nchw,nwhu->nchu", name="einsum"),
            B.scaled_dot_product_attention(query=x, key=y, value=y, name="attention"),
        )

    found = Evaluator(save(program, minimum_deployment_target=ct.target.iOS18)).run({"x": x, "y": y})
    a, b = x.astype(np.float64), y.astype(np.float64)
    scores = np.exp(a @ b.swapaxes(-1, -2) / np.sqrt(8))
    expected = {
        "linear": a @ weight.T.astype(np.float64) + bias,
        "matmul": a @ b.swapaxes(-1, -2),
        "both": a @ b.swapaxes(-1, -2),
        "einsum": a.sum(-1, keepdims=True).repeat(5, -1),
        "attention": scores / scores.sum(-1, keepdims=True) @ b,
    }
    errors = {name: np.abs(found[name] - value).max() / np.abs(value).max() for name, value in expected.items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}
