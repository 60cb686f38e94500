"""What each layer reads from the weights, in both element types; the runtime's own reading is the second opinion."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slide_export.backends.ncnn.network import Layer, render
from slide_export.backends.ncnn.weights import HALF, PARTS, halved, load, read
from slide_export.core.errors import BundleError

TAG = bytes(4)
HALF_STEP = 2.0**-11  # of float16, relative: half of the distance to the next number


def floats(*values: float) -> bytes:
    return np.array(values, "<f4").tobytes()


LINEAR = Layer("InnerProduct", "head/InnerProduct", ("in",), ("out",), {0: "2", 1: "1", 2: "6"})
NORM = Layer("LayerNorm", "norm/LayerNorm", ("in",), ("out",), {0: "3", 2: "1"})
TABLE = Layer("MemoryData", "attn/MemoryData", (), ("out",), {0: "2", 1: "1"})
DATA = TAG + floats(1, 2, 3, 4, 5, 6) + floats(0.1, 0.2) + floats(1, 1, 1) + floats(0, 0, 0.1) + floats(7, 8)
LAYERS = (LINEAR, NORM, TABLE)


def test_tensors_come_in_the_order_of_the_layers() -> None:
    found = list(read(LAYERS, DATA))
    assert [(tensor.layer, tensor.part.name, tensor.values.shape) for tensor in found] == [
        (0, "weight", (2, 3)),
        (0, "bias", (2,)),
        (1, "weight", (3,)),
        (1, "bias", (3,)),
        (2, "data", (1, 2)),
    ]
    assert found[0].values[1, 0] == 4
    assert {tensor.stored for tensor in found} == {"float32"}


@pytest.mark.parametrize(
    ("data", "complaint"), [(DATA[:-4], "file ends before the data of attn"), (DATA + TAG, "for the layers")]
)
def test_more_or_less_than_the_layers_read_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        list(read(LAYERS, data))


def test_a_type_that_is_not_known_is_refused() -> None:
    with pytest.raises(
        BundleError, match="float32 or float16 in the layer head/InnerProduct, found the tag 0x000d4b38"
    ):
        list(read(LAYERS, 0x000D4B38.to_bytes(4, "little") + DATA[4:]))


def test_half_of_everything_but_biases_and_scales_is_rounded_once() -> None:
    data = DATA.replace(floats(2), floats(2.0005))
    layers, written = halved(LAYERS, data)
    found = list(read(layers, written))
    assert [tensor.stored for tensor in found] == ["float16", "float32", "float32", "float32", "float16"]
    exact = [tensor.values for tensor in read(LAYERS, data)]
    for tensor, before in zip(found, exact, strict=True):
        np.testing.assert_allclose(tensor.values, before, rtol=HALF_STEP if tensor.stored == "float16" else 0)
    assert found[0].values[0, 1] != exact[0][0, 1]
    assert layers[2].parameters[21] == "0"  # else the runtime reads the constant as plain float32


def test_half_data_ends_at_four_bytes() -> None:
    layer = Layer("PReLU", "a/PReLU", ("in",), ("out",), {0: "1"})
    odd = replace(LINEAR, parameters={0: "1", 1: "0", 2: "3"})
    layers, written = halved((odd, layer), TAG + floats(1, 2, 3) + floats(0.25))
    assert len(written) == 4 + 6 + 2 + 4
    assert [tensor.values.tolist() for tensor in read(layers, written)] == [[[1, 2, 3]], [0.25]]


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the weights of a network"):
        load(tmp_path / "model.param")


# One layer of each type that reads weights, as pnnx writes its parameters, with the shape of its input [C, H, W].
CASES = [
    (Layer("Convolution", "", (), (), {0: "4", 1: "3", 4: "1", 5: "1", 6: "108"}), (3, 5, 5)),
    (Layer("ConvolutionDepthWise", "", (), (), {0: "4", 1: "3", 5: "1", 6: "36", 7: "4"}), (4, 5, 5)),
    (Layer("Deconvolution", "", (), (), {0: "4", 1: "2", 3: "2", 5: "1", 6: "48"}), (3, 5, 5)),
    (Layer("DeconvolutionDepthWise", "", (), (), {0: "4", 1: "2", 3: "2", 5: "1", 6: "16", 7: "4"}), (4, 5, 5)),
    (Layer("InnerProduct", "", (), (), {0: "4", 1: "1", 2: "24"}), (6,)),
    (Layer("Gemm", "", (), (), {3: "1", 5: "1", 6: "1", 7: "2", 8: "4", 9: "6", 10: "4"}), (2, 6)),
    (Layer("LayerNorm", "", (), (), {0: "6", 1: "1e-5", 2: "1"}), (2, 6)),
    (Layer("RMSNorm", "", (), (), {0: "6", 1: "1e-5", 2: "1"}), (2, 6)),
    (Layer("GroupNorm", "", (), (), {0: "2", 1: "4", 2: "1e-5", 3: "1"}), (4, 3, 3)),
    (Layer("InstanceNorm", "", (), (), {0: "4", 1: "1e-5", 2: "1"}), (4, 3, 3)),
    (Layer("BatchNorm", "", (), (), {0: "4"}), (4, 3, 3)),
    (Layer("PReLU", "", (), (), {0: "4"}), (4, 3, 3)),
    (Layer("Bias", "", (), (), {0: "4"}), (4, 3, 3)),
    (Layer("Scale", "", (), (), {0: "4", 1: "1"}), (4, 3, 3)),
]


def test_every_layer_that_reads_weights_has_a_case() -> None:
    assert {layer.type for layer, _ in CASES} | {"MemoryData"} == set(PARTS)


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=[layer.type for layer, _ in CASES])
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "w16"])
def test_the_runtime_reads_as_many_bytes(layer: Layer, shape: tuple[int, ...], half: bool, tmp_path: Path) -> None:
    """A constant behind the layer comes out whole only where the layer before took neither more nor less."""
    pytest.importorskip("ncnn", reason="ncnn is not installed")
    from slide_export.backends.ncnn.runtime import EXACT, extract, extractor, open_net

    layers: tuple[Layer, ...] = (
        Layer("Input", "in", (), ("in",)),
        replace(layer, name="layer", inputs=("in",), outputs=("out",)),
        Layer("MemoryData", "mark", (), ("mark",), {0: "3"}),
    )
    parts = list(PARTS[layer.type](layer))
    data = b"".join((TAG if part.tagged else b"") + np.full(part.shape, 0.5, "<f4").tobytes() for part in parts)
    data += floats(3, 5, 7)
    if half:
        layers, data = halved(layers, data)
        assert (HALF.to_bytes(4, "little") in data) and len(list(read(layers, data))) == len(parts) + 1
    (tmp_path / "model.param").write_text(render(layers))
    (tmp_path / "model.bin").write_bytes(data)
    state = extractor(open_net(tmp_path / "model.param", EXACT, 1), {"in": np.ones(shape, np.float32)})
    assert extract(state, "mark").tolist() == [3, 5, 7]
    assert np.isfinite(extract(state, "out")).all()
