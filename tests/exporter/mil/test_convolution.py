from typing import Any

import numpy as np

from slide_export.mil import Evaluator

TOLERANCE = 1e-5


def correlate(x: Any, weight: Any, stride: int, groups: int) -> Any:
    """A convolution written as loops over the kernel: x (N, C, H, W), weight (O, C / groups, kH, kW), no padding."""
    high, wide = weight.shape[2:]
    rows, columns = ((n - k) // stride + 1 for n, k in zip(x.shape[2:], (high, wide), strict=True))
    outputs, each = weight.shape[0] // groups, x.shape[1] // groups
    y = np.zeros((x.shape[0], weight.shape[0], rows, columns))
    for o in range(weight.shape[0]):
        for c in range(each):
            plane = x[:, o // outputs * each + c]
            for i in range(high):
                for j in range(wide):
                    patch = plane[:, i : i + rows * stride : stride, j : j + columns * stride : stride]
                    y[:, o] += weight[o, c, i, j] * patch[:, :rows, :columns]
    return y


def windows(x: Any, side: int, stride: int) -> Any:
    """All square windows: (N, C, rows, columns, side, side)."""
    return np.lib.stride_tricks.sliding_window_view(x, (side, side), (2, 3))[:, :, ::stride, ::stride]


def test_against_numpy(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 4, 7, 6)).astype(np.float32)
    dense = rng.standard_normal((5, 4, 3, 3)).astype(np.float32)
    ninefold = rng.standard_normal((36, 1, 3, 3)).astype(
        np.float32
    )  # depthwise, multiplier 9: the shape of slide attention
    bias = rng.standard_normal(5).astype(np.float32)
    square = {"kernel_sizes": [3, 3], "strides": [2, 2]}

    @B.program(input_specs=[B.TensorSpec(shape=x.shape)])
    def program(x: Any) -> Any:
        around = {"pad_type": "custom", "pad": [1, 1, 1, 1]}
        return (
            B.conv(x=x, weight=dense, bias=bias, strides=[2, 2], pad_type="valid", name="valid"),
            B.conv(x=x, weight=dense, pad_type="custom", pad=[0, 1, 2, 1], name="uneven"),
            B.conv(x=x, weight=dense, strides=[2, 2], pad_type="same", name="same"),
            B.conv(x=x, weight=ninefold, groups=4, **around, name="ninefold"),
            B.max_pool(x=x, **square, **around, name="max"),
            B.avg_pool(x=x, **square, **around, name="average"),
            B.avg_pool(x=x, **square, **around, exclude_padding_from_average=True, name="inside"),
            B.avg_pool(x=x, **square, pad_type="valid", ceil_mode=True, name="ceil"),
        )

    found = Evaluator(save(program)).run({"x": x})
    a = x.astype(np.float64)

    def padded(top: int, bottom: int, left: int, right: int, value: float = 0.0) -> Any:
        return np.pad(a, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)

    inside = windows(np.pad(np.ones_like(a), ((0, 0), (0, 0), (1, 1), (1, 1))), 3, 2).sum((-1, -2))
    sums = windows(padded(1, 1, 1, 1), 3, 2).sum((-1, -2))
    expected = {
        "valid": correlate(a, dense, 2, 1) + bias[:, None, None],
        "uneven": correlate(padded(0, 1, 2, 1), dense, 1, 1),
        "same": correlate(padded(1, 1, 0, 1), dense, 2, 1),  # 7 needs one row each side, 6 one column at the end
        "ninefold": correlate(padded(1, 1, 1, 1), ninefold, 1, 4),
        "max": windows(padded(1, 1, 1, 1, -np.inf), 3, 2).max((-1, -2)),
        "average": sums / 9,
        "inside": sums / inside,
        "ceil": windows(padded(0, 0, 0, 1), 3, 2).sum((-1, -2)) / np.array([9, 9, 6]),
    }
    errors = {name: np.abs(found[name] - value).max() / np.abs(value).max() for name, value in expected.items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}


def test_transposed_convolution_is_the_adjoint(save: Any) -> None:
    """<conv(u), v> = <u, conv_transpose(v)> for the same weight and padding."""
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    rng = np.random.default_rng(0)
    u, v = rng.standard_normal((1, 4, 7, 7)), rng.standard_normal((1, 5, 4, 4)).astype(np.float32)
    weight = rng.standard_normal((5, 4, 3, 3)).astype(np.float32)

    @B.program(input_specs=[B.TensorSpec(shape=v.shape)])
    def program(x: Any) -> Any:
        around = {"pad_type": "custom", "pad": [1, 1, 1, 1]}
        return B.conv_transpose(x=x, weight=weight, strides=[2, 2], **around, name="y")

    back = Evaluator(save(program)).run({"x": v})["y"]
    forth = correlate(np.pad(u, ((0, 0), (0, 0), (1, 1), (1, 1))), weight, 2, 1)
    assert abs((forth * v).sum() - (u * back).sum()) < TOLERANCE * np.abs(forth * v).sum()
