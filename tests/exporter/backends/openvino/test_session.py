"""Feeds are the inputs or refused; a batch size of its own is compiled once; values inside have names and users."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

from slide_export.backends.openvino.session import Session, intermediates, values
from slide_export.core.artifact import Feeds
from slide_export.core.errors import RequestError
from slide_export.core.graph import Value

from .graphs import CPU, product


def ones(batch: int, kind: type[np.generic] = np.float32) -> Feeds:
    return {"x": np.ones((batch, 3), kind)}


def test_a_product_is_computed_for_any_batch(tmp_path: Path) -> None:
    session = Session(product(tmp_path), {**CPU, "static_batches": [1]})
    for batch in (1, 2, 1):
        assert session.run(ones(batch))["y"].tolist() == [[7.0, 11.0]] * batch
    assert set(session._compiled) == {1, None}
    assert session.evaluator.endswith("on CPU (f32)")


def test_the_first_batch_size_is_compiled_at_once(tmp_path: Path) -> None:
    path = product(tmp_path, batch=2)
    assert set(Session(path, {**CPU, "static_batches": [4, 1]})._compiled) == {4}
    fixed = Session(path, CPU)
    assert set(fixed._compiled) == {None}
    with pytest.raises(RequestError, match="OpenVINO says"):
        fixed.run(ones(3))


@pytest.mark.parametrize(
    "feeds", [{}, {"images": ones(1)["x"]}, ones(1, np.float64), {**ones(1), "more": np.ones(1)}, ones(1, np.uint8)]
)
def test_feeds_that_are_not_the_inputs_are_refused(feeds: Feeds, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"expected the inputs {'x': 'float32'}, found"):
        Session(product(tmp_path), CPU).run(feeds)


def test_values_inside_depend_on_an_input(tmp_path: Path) -> None:
    """Neither weights nor inputs nor results; an input's name is not told as what a value takes of a layer."""
    assert values(product(tmp_path), CPU) == (
        Value("/head/MatMul:0", "head", ("x:0",)),
        Value("/head/Add:0", "head", ("/head/MatMul:0",)),
    )


def test_a_value_inside_is_given_beside_the_outputs(tmp_path: Path) -> None:
    found = intermediates(product(tmp_path), CPU, ["/head/MatMul:0"]).run(ones(1))
    assert found["/head/MatMul:0"].tolist() == [[6.0, 9.0]]
    assert found["y"].tolist() == [[7.0, 11.0]]
