"""Times and products of an ML Program's operations."""

from typing import Any

import numpy as np

from slide_export.mil import Evaluator, timing


def program() -> Any:
    from coremltools.converters.mil.mil import Builder as mb  # noqa: N813

    def weight(*shape: int) -> Any:
        return np.full(shape, 0.5, np.float32)

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 4, 8, 8))])
    def build(x: Any) -> Any:
        patches = mb.conv(x=x, weight=weight(6, 4, 2, 2), strides=[2, 2], name="patches")  # [1, 6, 4, 4]
        depth = mb.conv(x=patches, weight=weight(6, 1, 3, 3), groups=6, pad_type="same", name="depth")
        overlap = mb.conv(x=depth, weight=weight(6, 6, 3, 3), pad_type="same", name="overlap")
        rows = mb.reshape(x=overlap, shape=[6, 16], name="rows")
        wide = mb.linear(x=rows, weight=weight(16, 16), name="wide")
        return mb.matmul(x=wide, y=rows, transpose_y=True, name="scores")

    return build


def test_products_are_told_apart(save: Any) -> None:
    found = {name: product for name, product in timing.products(save(program())).items() if product}
    assert found == {
        "patches": "dense",
        "depth": "spatial",
        "overlap": "spatial",
        "wide": "dense",
        "scores": "activations",
    }


def test_each_computed_operation_has_a_time(save: Any) -> None:
    package = save(program())
    found = timing.spent_ms(Evaluator(package), {"x": np.ones((1, 4, 8, 8), np.float32)})
    assert found.keys() == timing.products(package).keys()
    assert all(ms > 0 for ms in found.values())
