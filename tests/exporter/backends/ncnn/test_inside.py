"""Values inside a network depend on an input; what a Split gives is its input's."""

from pathlib import Path

from slide_export.backends.ncnn.inside import values
from slide_export.backends.ncnn.network import Layer, render
from slide_export.core.graph import Value


def test_a_split_is_seen_through_and_a_constant_is_no_value(tmp_path: Path) -> None:
    layers = (
        Layer("Input", "images", (), ("images",)),
        Layer("MemoryData", "table", (), ("table",)),
        Layer("Noop", "moved", ("table",), ("moved",)),
        Layer("Split", "split", ("images",), ("a", "b")),
        Layer("Convolution", "embed/Convolution", ("a",), ("c",)),
        Layer("BinaryOp", "attn/Add", ("b", "table"), ("d",)),
        Layer("BinaryOp", "BinaryOp", ("c", "d"), ("e",)),
    )
    path = tmp_path / "model.param"
    path.write_text(render(layers))
    found = values(path, {})
    assert found == (
        Value("c", "embed", ("images",)),
        Value("d", "attn", ("images",)),
        Value("e", "", ("c", "d")),
    )
