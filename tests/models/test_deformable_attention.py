"""Which maps upstream's deformable attention can run on, at the last that fits and the first that does not.

And its inference form in OpenVINO, whose kernels share memory between what the ONNX graph keeps apart.
"""

from dataclasses import replace
from io import BytesIO

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from slide_export.models.deformable_attention import DeformableAttention, DeformableShape
from slide_export.models.family import ShapeError

DAT = DeformableShape(8, 2, (14, 14), 2, stride=1, kernel=3, factor=2.0, table=(14, 14), plus_plus=False)
PLUS = replace(DAT, stride=2, factor=-1.0, plus_plus=True)


@pytest.mark.parametrize(
    ("plus_plus", "kernel", "stride", "padding", "side"),
    [(False, 3, 1, 1, 14), (False, 2, 2, 1, 8), (True, 2, 2, 0, 7), (True, 3, 2, 1, 7), (True, 5, 4, 2, 4)],
)
def test_points_are_those_of_a_padded_convolution(
    plus_plus: bool, kernel: int, stride: int, padding: int, side: int
) -> None:
    """DAT++'s has no padding where patches of the kernel's size stand side by side."""
    shape = replace(DAT, plus_plus=plus_plus, kernel=kernel, stride=stride)
    assert (shape.padding, shape.grid) == (padding, (side, side))


def test_a_table_has_a_place_for_each_distance() -> None:
    assert replace(DAT, table=(14, 7)).biases == (27, 13)


@pytest.mark.parametrize(
    "shape",
    [
        DAT,
        replace(DAT, table=None),
        replace(DAT, resolution=(1, 1), table=(1, 1)),
        PLUS,
        replace(PLUS, table=(7, 7)),  # looked up at any size
        replace(PLUS, resolution=(3, 3)),  # two points a side
        replace(PLUS, kernel=2, still=True, table=None),
        replace(PLUS, resolution=(2, 2), kernel=2, still=True, table=None),
    ],
)
def test_a_map_that_upstream_runs_on_is_taken(shape: DeformableShape) -> None:
    shape.refuse_misfits()


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        (replace(PLUS, resolution=(1, 9), kernel=2), "no point of stride 2 stands"),
        (replace(DAT, still=True), "whose points do not move"),
        (replace(PLUS, kernel=3, resolution=(15, 15), still=True), "8x8 points are not its means of 2"),
        (replace(DAT, table=(14, 7)), "position biases for 14x7"),
        (replace(PLUS, resolution=(2, 9), table=None), "1x5 points: DAT.. divides by a side less 1"),
        (replace(PLUS, resolution=(1, 9), stride=1, table=(1, 9)), "divides by a side less 1"),
    ],
)
def test_a_map_that_upstream_fails_on_is_refused(shape: DeformableShape, sentence: str) -> None:
    with pytest.raises(ShapeError, match=sentence):
        shape.refuse_misfits()


class Block(nn.Module):
    """A projection before the attention: without one OpenVINO shares no memory."""

    def __init__(self, shape: DeformableShape) -> None:
        super().__init__()
        self.before, self.attention = nn.Linear(shape.dim, shape.dim), DeformableAttention(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.before(x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporter that the project uses as well
@pytest.mark.parametrize(("plus_plus", "factor"), [(False, 2.0), (True, -1.0)])
@pytest.mark.parametrize(("dim", "heads", "side", "groups", "kernel"), [(64, 4, 7, 2, 3), (32, 2, 14, 1, 5)])
def test_queries_are_not_overwritten_while_offsets_are_made_of_them(
    dim: int, heads: int, side: int, groups: int, kernel: int, plus_plus: bool, factor: float
) -> None:
    torch.manual_seed(0)
    shape = DeformableShape(dim, heads, (side, side), groups, 1, kernel, factor, (side, side), plus_plus)
    block = Block(shape)
    for value in block.parameters():
        value.data.normal_(0, 0.15)
    x = torch.randn(1, side, side, dim)
    truth = block.double()(x.double()).detach().numpy()
    block.attention = block.attention.fuse()  # type: ignore[assignment]
    block.float()
    buffer = BytesIO()
    torch.onnx.export(block.eval(), (x,), buffer, dynamo=False, opset_version=17)  # type: ignore[arg-type]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(buffer.getvalue()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    assert np.abs(compiled([x.numpy()])[0] - truth).max() < 1e-5  # 2e-2 to 1 where they are
