"""Feeds are the inputs or refused, values inside have the module that gives them, and maps are shown channels first."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

from slide_export.backends.litert.session import Session, hidden, intermediates, merged, values
from slide_export.core.errors import BundleError, RequestError

from .files import File, layer


@pytest.mark.parametrize(
    ("scopes", "expected", "moved"),
    [
        (("a.fc",), set(), set()),
        (("a.norm", "a.fc"), {"a.norm"}, {"a.norm"}),
        # A scale of the block's, behind its attention: what the block adds next is its result all the same.
        (("a", "a.attn.proj"), {"a.attn", "a.attn.proj"}, set()),
        (("", "embed.norm", ""), {"embed", "embed.norm"}, set()),  # a table of the model's, added to a norm
        (("a.attn.proj", "ab"), {"a.attn.proj"}, {"a.attn.proj"}),
    ],
)
def test_what_lost_its_result_is_not_shown(scopes: tuple[str, ...], expected: set[str], moved: set[str]) -> None:
    assert hidden([scopes]) == expected
    assert merged([scopes]) == moved


ONES = np.ones((1, 3), np.float32)


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_product_is_computed_by_both_kernels(delegate: str, tmp_path: Path) -> None:
    session = Session(layer(tmp_path), {"delegate": delegate})
    assert session.run({"x/0": ONES})["head/3"].tolist() == [[6.0, 15.0]]
    assert session.evaluator.endswith("(XNNPACK)" if delegate == "xnnpack" else "(its own kernels)")


@pytest.mark.parametrize(
    "feeds",
    [{}, {"y": ONES}, {"x/0": ONES.astype(np.float64)}, {"x/0": np.ones((2, 3), np.float32)}, {"x/0": ONES, "y": ONES}],
)
def test_feeds_that_are_not_the_inputs_are_refused(feeds: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"expected the inputs x/0 float32\[1, 3\], found"):
        Session(layer(tmp_path), {}).run(feeds)


def test_what_is_no_file_of_litert_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the system says"):
        Session(tmp_path / "none.tflite", {})
    (tmp_path / "model.tflite").write_bytes(b"no model")
    with pytest.raises(BundleError, match=r"that LiteRT can load, model\.tflite is none"):
        Session(tmp_path / "model.tflite", {})


def test_values_depend_on_an_input_and_are_of_the_nearer_module(tmp_path: Path) -> None:
    """A reshape behind a layer is folded into it: its result is called after the block, its weights after the layer."""
    file = File()
    x = file.tensor("x/0", (1, 3))
    weight = file.tensor("block.proj/1", (2, 3), "float32", np.ones((2, 3)))
    y = file.operator("FULLY_CONNECTED", [x, weight], file.tensor("block/2", (1, 2)))
    y = file.operator("RELU", [y], file.tensor("block.act/3", (1, 2)))
    table = file.operator("RELU", [weight], file.tensor("constant/4", (2, 3)))
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([x], [y, table]))
    assert [(one.name, one.scope, one.takes) for one in values(path, {})] == [
        ("block/2", "block.proj", ("x/0",)),
        ("block.act/3", "block.act", ("block/2",)),
    ]


def test_a_convolutions_result_is_shown_channels_first(tmp_path: Path) -> None:
    file = File()
    x = file.tensor("x/0", (1, 2, 3, 1))
    kernel = file.tensor("embed/1", (4, 1, 1, 1), "float32", np.arange(4).reshape(4, 1, 1, 1))
    bias = file.tensor("embed/4", (4,), "float32", np.zeros(4))
    y = file.operator("CONV_2D", [x, kernel, bias], file.tensor("embed/2", (1, 2, 3, 4)))
    z = file.operator("RELU", [y], file.tensor("act/3", (1, 2, 3, 4)))
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([x], [z]))
    shown = intermediates(path, {"delegate": "xnnpack"}, ["embed/2", "act/3"])
    found = shown.run({"x/0": np.ones((1, 2, 3, 1), np.float32)})
    assert found["embed/2"].shape == (1, 4, 2, 3)
    assert found["act/3"].shape == (1, 2, 3, 4)
    assert "its own kernels" in shown.evaluator  # XNNPACK never writes what is inside of it


def test_an_order_is_shown_as_the_kernels_of_the_outputs_make_it(tmp_path: Path) -> None:
    file = File()
    x = file.tensor("x/0", (1, 3))
    y = file.operator("RELU", [x], file.tensor("act/1", (1, 3)))
    order = file.operator("CAST", [y], file.tensor("sort.rounds.0/2", (1, 3), "int32"))
    z = file.operator("CAST", [order], file.tensor("z/3", (1, 3)))
    path = tmp_path / "model.tflite"
    path.write_bytes(file.written([x], [z]))
    shown = intermediates(path, {"delegate": "xnnpack"}, ["sort.rounds.0/2"])
    found = shown.run({"x/0": np.array([[-1, 2, 3]], np.float32)})
    assert {name: value.tolist() for name, value in found.items()} == {
        "z/3": [[0, 2, 3]],
        "sort.rounds.0/2": [[0, 2, 3]],
    }
    assert "(XNNPACK)" in shown.evaluator
    assert "(its own kernels)" in intermediates(path, {"delegate": "xnnpack"}, ["act/1", "sort.rounds.0/2"]).evaluator
