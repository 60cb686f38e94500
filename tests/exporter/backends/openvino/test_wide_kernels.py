"""Convolutions that OpenVINO computes wrongly in 8 bits are fed in float, and others stay as they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("openvino", reason="OpenVINO is not installed")

import openvino
from openvino import opset13 as ops

from slide_export import api, calibration
from slide_export.backends.openvino.wide_kernels import feed_in_float
from slide_export.models.config_tree import write_config
from slide_export.models.pvt import PvtConfig, PyramidVisionTransformer
from tests.conftest import randomise

from .graphs import constant
from .quantized import RIGHT_DB, STEP, Convolution, decibel, in_8_bits

REDUCTION = Convolution(32, 32, 8, 8, (24, 24))
"""PVTv2-B0's: in 8 bits -3 dB on a processor with AMX."""
PHOTOS = Path(calibration.__file__).parent / "photos"


def types(model: openvino.Model) -> list[str]:
    """Of the layers that the convolutions' activations go through, from the convolution on."""
    (node,) = (one for one in model.get_ordered_ops() if one.get_type_name() == "Convolution")
    found = []
    while node.get_type_name() != "Parameter":
        node = node.input_value(0).get_node()
        found.append(node.get_type_name())
    return found


ROUNDED = ["Multiply", "Subtract", "Convert", "Convert", "FakeQuantize", "Parameter"]


@pytest.mark.parametrize(
    "wrong",
    [
        REDUCTION,
        Convolution(16, 8, 8, 2, (24, 24), padding=1),
        Convolution(32, 64, 4, 4, (12, 12)),
        Convolution(60, 8, 16, 16, (32, 32)),
        Convolution(32, 64, 4, 4, (4, 4)),
        Convolution(63, 64, 4, 2, (8, 1), padding=2),
        Convolution(128, 16, 7, 6, (37, 8)),
        Convolution(48, 64, 3, 3, (41, 5)),
        Convolution(56, 8, 2, 2, (24, 3)),
    ],
)
def test_what_is_wrong_in_8_bits_is_fed_in_float_and_right(wrong: Convolution) -> None:
    model = wrong.model()
    assert types(model) == ROUNDED
    feed_in_float(model)
    assert types(model) == ["Parameter"]
    assert decibel(model, wrong) > RIGHT_DB


@pytest.mark.parametrize(
    "right",
    [
        Convolution(64, 64, 8, 8, (24, 24)),  # of PVT and PVTv2-B1
        Convolution(32, 32, 2, 2, (24, 24)),
        Convolution(3, 32, 4, 4, (16, 16)),
        Convolution(64, 16, 3, 1, (3, 4)),
        Convolution(48, 16, 1, 1, (7, 1)),
        Convolution(32, 16, 3, 1, (24, 24)),
        Convolution(30, 16, 8, 8, (24, 24)),
    ],
)
def test_what_is_right_stays_in_8_bits(right: Convolution) -> None:
    model = right.model()
    feed_in_float(model)
    assert types(model) == ROUNDED
    assert decibel(model, right) > RIGHT_DB


def test_activations_without_a_zero_point_are_known_too() -> None:
    x = ops.parameter([1, 32, 24, 24], np.float32)
    weights = ops.multiply(ops.convert(constant(np.ones((8, 32, 8, 8)), np.int8), "f32"), constant(STEP))
    model = openvino.Model([ops.convolution(in_8_bits(x, None), weights, [8, 8], [0, 0], [0, 0], [1, 1])], [x])
    feed_in_float(model)
    assert types(model) == ["Parameter"]


def test_a_factor_of_the_models_own_is_not_left_out() -> None:
    """Behind what was rounded the model multiplies: its convolution takes no 8 bits, and is as it was."""
    x = ops.parameter([1, 32, 24, 24], np.float32)
    scaled = ops.multiply(in_8_bits(x, 131), constant(3))
    model = openvino.Model(
        [ops.convolution(scaled, constant(np.ones((8, 32, 8, 8))), [8, 8], [0, 0], [0, 0], [1, 1])], [x]
    )
    before = types(model)
    feed_in_float(model)
    assert types(model) == before


def test_a_dynamic_batch_is_no_obstacle() -> None:
    model = REDUCTION.model()
    model.reshape([-1, 32, 24, 24])
    feed_in_float(model)
    assert types(model) == ["Parameter"]


def test_a_pvt_of_few_channels_is_proved_in_int8(tmp_path: Path) -> None:
    """Of its three reductions, 8x8 of 16 channels, 4x4 of 32 and 2x2 of 48, the first two are fed in float."""
    config = PvtConfig((16, 32, 48, 64), (1, 1, 1, 1), (1, 2, 3, 4), image_size=(64, 96), num_classes=10)
    torch.manual_seed(0)
    saved = tmp_path / "pvt.pth"
    torch.save(
        {"model": randomise(PyramidVisionTransformer(config)).state_dict(), "config": write_config(config, "pvt")},
        saved,
    )
    made = api.export(
        saved, target="openvino", precision="int8", out=tmp_path, image_count=1, images=PHOTOS, calibration_size=6
    )
    model = openvino.Core().read_model(made.path / "model.xml")
    convolutions = [node for node in model.get_ordered_ops() if node.get_type_name() == "Convolution"]
    fed = {one.get_friendly_name(): one.input_value(0).get_node().get_type_name() for one in convolutions}
    in_float = [name for name, kind in fed.items() if kind != "Multiply"]
    assert [name.split("/")[1] for name in in_float] == ["block1.0", "block2.0"]
    assert len(fed) == 7
