"""What is taken for a network, and which layers of one are faults."""

from pathlib import Path

import pytest

pytest.importorskip("ncnn", reason="ncnn is not installed")

from slide_export.backends.ncnn.lint import FACTS, is_artifact, lint_artifact, unknown
from slide_export.backends.ncnn.network import Layer, render


def network(folder: Path, *layers: Layer) -> Path:
    path = folder / "model.param"
    path.write_text(render((Layer("Input", "x", (), ("x",)), *layers)))
    return path


def test_a_network_is_told_by_its_ending_and_its_first_line(tmp_path: Path) -> None:
    path = network(tmp_path)
    assert is_artifact(path)
    assert not is_artifact(path.rename(tmp_path / "model.txt"))
    assert not is_artifact(tmp_path / "absent.param")
    (tmp_path / "other.param").write_text("7767518\n")
    assert not is_artifact(tmp_path / "other.param")


def test_layers_that_ncnn_does_not_have_are_found() -> None:
    layers = [Layer("Softmax", "a", (), ()), Layer("pnnx.Expression", "b", (), ())]
    assert [layer.name for layer in unknown(layers)] == ["b"]


def test_a_shape_that_is_computed_at_each_call_is_a_warning(tmp_path: Path) -> None:
    fixed = Layer("Reshape", "head/Reshape", ("x",), ("y",), {0: "3"})
    computed = Layer("Reshape", "head/Reshape", ("x",), ("y",), {6: '"0w,1h"'})
    assert lint_artifact(network(tmp_path, fixed)) == ()
    (found,) = lint_artifact(network(tmp_path, computed))
    assert (found.rule, found.severity, found.module) == ("ncnn-computed-shape", "warning", "head")


def test_an_unknown_layer_is_an_error(tmp_path: Path) -> None:
    (found,) = lint_artifact(network(tmp_path, Layer("torch.roll", "attn/Roll", ("x",), ("y",))))
    assert (found.rule, found.severity, found.module) == ("ncnn-unknown-layer", "error", "attn")


def test_a_mat_has_four_axes_beside_the_batch() -> None:
    assert {fact.rule: fact.limit for fact in FACTS if fact.limit} == {"rank": 5}
