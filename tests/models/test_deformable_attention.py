"""Deformable attention in OpenVINO: its kernels share memory between what the ONNX graph keeps apart."""

from io import BytesIO

import numpy as np
import openvino
import pytest
import torch
from torch import Tensor, nn

from slide_export.models.deformable_attention import DeformableAttention, DeformableShape


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
