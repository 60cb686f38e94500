"""Winograd's convolution gives what a convolution gives, and rounds what ncnn's rounds."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slide_export.backends import registry
from slide_export.backends.ncnn.runtime import EXACT, extract, extractor, open_net
from slide_export.diagnosis.winograd import ByWinograd
from slide_export.models.batch_norm import NormedConvolution
from slide_export.proof.parity import sqnr_db

DENSE = {"in_channels": 3, "out_channels": 5, "kernel_size": 3}


def decibel(exact: Tensor, found: Tensor) -> float:
    """Signal to noise in dB."""
    return sqnr_db(exact.numpy(), (found.double() - exact).numpy())


@pytest.mark.parametrize("padding", [0, 1, (2, 1)])
@pytest.mark.parametrize("size", [(3, 3), (4, 9), (8, 12), (14, 14)])
@pytest.mark.parametrize("bias", [False, True])
@torch.inference_mode()
def test_it_is_a_convolution(size: tuple[int, int], padding: int | tuple[int, int], bias: bool) -> None:
    layer = nn.Conv2d(**DENSE, padding=padding, bias=bias).double()
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    expected = layer(x)
    with ByWinograd():
        found = layer(x)
    assert not torch.equal(found, expected)
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "fields",
    [
        {"stride": 2},
        {"dilation": 2},
        {"kernel_size": 1},
        {"kernel_size": (3, 1)},
        {"in_channels": 5, "groups": 5},
        {"padding": "same"},
    ],
)
@torch.inference_mode()
def test_other_convolutions_are_computed_as_they_were(fields: dict[str, object]) -> None:
    layer = nn.Conv2d(**(DENSE | fields))  # type: ignore[arg-type]
    x = torch.randn(1, layer.in_channels, 12, 12)
    expected = layer(x)
    with ByWinograd():
        assert torch.equal(layer(x), expected)


@torch.inference_mode()
def test_what_a_layer_does_behind_its_convolution_is_done() -> None:
    """As CBAM's and GAM's layers, which norm what they convolve."""
    norm = nn.BatchNorm2d(5).eval()
    norm.weight.data.fill_(3.0)
    layer = NormedConvolution(3, 5, 3, norm)
    x = torch.randn(1, 3, 8, 8)
    expected = layer(x)
    with ByWinograd():
        found = layer(x)
    assert not torch.equal(found, expected)
    assert torch.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("channels", "size"), [(64, (56, 56)), (256, (14, 14))])
@torch.inference_mode()
def test_it_rounds_what_ncnn_rounds(channels: int, size: tuple[int, int], tmp_path: Path) -> None:
    """A sum in PyTorch's order loses 12 to 17 dB less: by that floor ncnn would be blamed for its algorithm."""
    if not registry.availability("ncnn").ready:
        pytest.skip("ncnn is not installed")
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    x = torch.randn(1, channels, *size).relu()
    exact = nn.functional.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)  # type: ignore[union-attr]
    sides = f"0={channels} 1=3 4=1 5=1 6={layer.weight.numel()}"
    (tmp_path / "m.param").write_text(f"7767517\n2 2\nInput x 0 1 x\nConvolution y 1 1 x y {sides}\n")
    weights = struct.pack("<I", 0) + layer.weight.numpy().tobytes() + layer.bias.numpy().tobytes()  # type: ignore[union-attr]
    (tmp_path / "m.bin").write_bytes(weights)
    tiles_of_six = {**EXACT, "use_winograd63_convolution": False, "use_winograd23_convolution": False}
    state = extractor(open_net(tmp_path / "m.param", tiles_of_six, 1), {"x": x[0].numpy()}, keep=False)
    theirs = decibel(exact, torch.from_numpy(np.array(extract(state, "y"))[None]))
    assert theirs < decibel(exact, layer(x)) - 8
    with ByWinograd():
        assert theirs == pytest.approx(decibel(exact, layer(x)), abs=2)
