"""A `.tflite` file is read as the interpreter reads it, and written again as the same graph with aligned buffers."""

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from slide_export.backends.litert import flatbuffer
from slide_export.core.errors import BundleError


@pytest.fixture(scope="module")
def content(digits_bundle: Path) -> bytes:
    return (digits_bundle / "model.tflite").read_bytes()


def test_it_reads_what_the_interpreter_reads(content: bytes) -> None:
    graph = flatbuffer.parse(content)
    interpreter = Interpreter(
        model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    )
    interpreter.allocate_tensors()
    told = interpreter.get_tensor_details()
    assert [tensor.name for tensor in graph.tensors] == [one["name"] for one in told[: len(graph.tensors)]]
    for tensor, one in zip(graph.tensors, told, strict=False):  # scratch tensors of kernels stand behind
        assert (tensor.type, tensor.shape) == (np.dtype(one["dtype"]).name, tuple(one["shape"]))
        if tensor.data is not None:
            assert np.array_equal(tensor.values, interpreter.get_tensor(one["index"]))
    assert [one.name for one in graph.operations] == [one["op_name"] for one in interpreter._get_ops_details()]


def test_names_are_modules_and_ends_are_called_as_the_bundle_says(content: bytes) -> None:
    graph = flatbuffer.parse(content)
    assert [graph.tensors[index].name for index in (*graph.inputs, *graph.outputs)] == ["images", "logits"]
    scopes = {tensor.scope for tensor in graph.tensors}
    assert {"patch_embed.proj", "layers.0.blocks.0.attn.proj", "layers.3.blocks.0.mlp.fc1", "head"} <= scopes
    assert len({tensor.name for tensor in graph.tensors}) == len(graph.tensors)


def test_every_buffer_begins_at_a_multiple_of_sixteen(content: bytes) -> None:
    model = schema.Model.GetRootAs(content, 0)
    starts = []
    for place in range(model.BuffersLength()):
        buffer = model.Buffers(place)
        if buffer.DataLength():
            starts.append(buffer._tab.Vector(buffer._tab.Offset(4)))
    assert len(starts) > 100
    assert not any(start % flatbuffer.ALIGNMENT for start in starts)


def test_what_is_written_again_is_the_same_file(content: bytes) -> None:
    assert flatbuffer.finished(content) == content


def test_weights_behind_the_flatbuffer_are_read_and_brought_inside(content: bytes) -> None:
    """As quantizers write them: an offset and a size in the place of the data."""
    model = flatbuffer.parsed(content)
    largest = max(model.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    data = np.asarray(largest.data, np.uint8).tobytes()
    largest.data, largest.offset, largest.size = None, 2, len(data)
    import flatbuffers

    def packed() -> bytes:
        builder = flatbuffers.Builder(1024)
        builder.Finish(model.Pack(builder), file_identifier=flatbuffer.IDENTIFIER)
        return bytes(builder.Output())

    largest.offset = len(packed())
    moved = packed()
    assert len(moved) == largest.offset
    apart = flatbuffer.parse(moved + data)
    whole = flatbuffer.parse(content)
    for one, other in zip(apart.tensors, whole.tensors, strict=True):
        assert (one.data is None) == (other.data is None)
        assert one.data is None or other.data is None or np.array_equal(one.data, other.data)
    assert [tensor.data is None for tensor in flatbuffer.parse(flatbuffer.finished(moved + data)).tensors] == [
        tensor.data is None for tensor in whole.tensors
    ]


@pytest.mark.parametrize("end", [0, 6, 40, 4000])
def test_a_cut_file_is_refused(content: bytes, end: int) -> None:
    with pytest.raises(BundleError, match=r"expected a \.tflite file of one graph, cut is none"):
        flatbuffer.parse(content[:end], "cut")


def test_scopes_are_those_of_every_module_that_a_tensor_was_made_of() -> None:
    assert flatbuffer.scopes_of("a.q;;a.k/3") == ("a.q", "a.k")
    assert flatbuffer.scope_of("a.q;;a.k/3") == "a.q"
    assert flatbuffer.scope_of("/7") == ""
