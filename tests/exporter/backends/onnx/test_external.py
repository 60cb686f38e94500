"""Files that a graph names beside it are found wherever in it they are named."""

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from slide_export.backends.onnx.external import companions
from slide_export.core.errors import BundleError


def tensor(name: str, location: str) -> onnx.TensorProto:
    made = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0")):
        made.external_data.add(key=key, value=value)
    return made


def written(folder: Path, model: onnx.ModelProto) -> Path:
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    return folder / "model.onnx"


def model(*nodes: onnx.NodeProto, initializers: list[onnx.TensorProto] | None = None) -> onnx.ModelProto:
    return helper.make_model(helper.make_graph(list(nodes), "g", [], [], initializers or []))


def test_weights_elsewhere_are_named_once_each_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, model(initializers=[tensor("a", "z.bin"), tensor("b", "a.bin"), tensor("c", "z.bin")]))
    assert companions(path) == (tmp_path / "a.bin", tmp_path / "z.bin")


def test_attributes_subgraphs_and_functions_count_too(tmp_path: Path) -> None:
    inner = helper.make_graph([], "inner", [], [], [tensor("c", "inner.bin")])
    nodes = [helper.make_node("Constant", [], ["x"], value=tensor("d", "attribute.bin"))]
    nodes.append(helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner))
    made = model(*nodes)
    called = helper.make_node("Constant", [], ["x"], value=tensor("e", "function.bin"))
    made.functions.append(helper.make_function("own", "f", [], ["x"], [called], [helper.make_opsetid("", 17)]))
    assert [path.name for path in companions(written(tmp_path, made))] == ["attribute.bin", "function.bin", "inner.bin"]


def test_a_graph_without_has_none_even_where_the_word_stands_in_it(tmp_path: Path) -> None:
    assert companions(written(tmp_path, model())) == ()
    assert companions(written(tmp_path, model(helper.make_node("Relu", ["location"], ["y"])))) == ()


def test_what_is_no_graph_is_refused_where_it_has_to_be_read(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff\xfflocation")
    with pytest.raises(BundleError, match="expected an ONNX model"):
        companions(tmp_path / "model.onnx")
    (tmp_path / "model.onnx").write_bytes(b"\xff\xff")
    assert companions(tmp_path / "model.onnx") == ()  # nothing of it names a file
