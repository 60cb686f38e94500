"""Models with the faults that the rules look for, and small ways to export them."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from slide_export.mil import Package, vendor

Saver = Callable[..., Package]


class UpstreamSlideAttention(nn.Module):
    """Slide attention as upstream writes it: two paths and arithmetic on rank 6 (slide_swin.py 6b1e184)."""

    def __init__(self, dim: int = 8, heads: int = 2) -> None:
        super().__init__()
        self.dim, self.heads, width = dim, heads, dim // heads
        self.qkv, self.proj = nn.Conv2d(dim, 3 * dim, 1), nn.Conv2d(dim, dim, 1)
        self.dep_conv, self.dep_conv1 = (nn.Conv2d(width, width * 9, 3, padding=1, groups=width) for _ in range(2))
        self.table = nn.Parameter(torch.zeros(1, heads, 1, 9, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        batch, _, rows, cols = x.shape
        width = self.dim // self.heads
        q, k, v = self.qkv(x).reshape(-1, 3 * width, rows, cols).chunk(3, 1)
        k, v = (self.dep_conv(part) + self.dep_conv1(part) for part in (k, v))
        q = q.reshape(batch, self.heads, width, 1, rows, cols)
        k, v = (part.reshape(batch, self.heads, width, 9, rows, cols) for part in (k, v))
        attention = (q * (k + self.table)).sum(2, keepdim=True).softmax(3)
        return self.proj((attention * v).sum(3).reshape(batch, self.dim, rows, cols))


class UnfoldAttention(nn.Module):
    """Local attention by Im2Col."""

    def __init__(self, dim: int = 8) -> None:
        super().__init__()
        self.keys, self.unfold, self.proj = nn.Conv2d(dim, dim, 1), nn.Unfold(3, padding=1), nn.Conv2d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        _, dim, rows, cols = x.shape
        around = self.unfold(self.keys(x)).reshape(-1, dim, 9, rows * cols)
        attention = (x.reshape(-1, dim, 1, rows * cols) * around).sum(1, keepdim=True).softmax(2)
        return self.proj((attention * around).sum(2).reshape(-1, dim, rows, cols))


class RollBlock(nn.Module):
    """Swin's shifted window with torch.roll, the rank-6 partition and the batch that int() makes a constant."""

    def __init__(self, dim: int = 8, window: int = 4) -> None:
        super().__init__()
        self.norm, self.attn, self.window = nn.LayerNorm(dim), nn.Linear(dim, dim), window

    def forward(self, x: Tensor) -> Tensor:
        batch, rows, cols, dim = x.shape
        w = self.window
        x = torch.roll(self.norm(x), (-2, -2), (1, 2))
        x = x.view(batch, rows // w, w, cols // w, w, dim).permute(0, 1, 3, 2, 4, 5).contiguous()
        windows = self.attn(x.view(-1, w * w, dim))
        batch = int(windows.shape[0] / (rows * cols / w / w))
        x = windows.view(batch, rows // w, cols // w, w, w, dim).permute(0, 1, 3, 2, 4, 5).contiguous()
        return torch.roll(x.view(batch, rows, cols, dim), (2, 2), (1, 2))


class Block(nn.Module):
    """Any module as `attn`."""

    def __init__(self, attn: nn.Module) -> None:
        super().__init__()
        self.attn = attn

    def forward(self, x: Tensor) -> Any:
        return self.attn(x)


class Named(nn.Module):
    """Any module as `layers.0.attn`."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Block(module)])

    def forward(self, x: Tensor) -> Any:
        return self.layers[0](x)


def to_onnx(module: nn.Module, example: Tensor, opset: int = 17) -> onnx.ModelProto:
    """What torch's exporter writes, nothing folded afterwards, with a dynamic batch."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's deprecation of this exporter; constants that are the fault tested
        torch.onnx.export(
            module.eval(),
            (example,),
            buffer,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=opset,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: "batch"}},
        )
    return onnx.load_from_string(buffer.getvalue())


def convert(source: Any, path: Path, precision: str = "fp16", **options: Any) -> Package:
    """Converts a MIL program or a traced module, saves it and returns the package read back."""
    vendor.prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # coremltools 9.0 warns about numpy and torch idioms of its own
        import coremltools as ct

        chosen = ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32
        options.setdefault("minimum_deployment_target", ct.target.iOS17)
        model = ct.convert(source, convert_to="mlprogram", compute_precision=chosen, skip_model_load=True, **options)
        model.save(str(path))
    return Package.read(path)


def traced_module(module: nn.Module, shape: tuple[int, ...]) -> Any:
    """The trace that coremltools takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13 deprecates tracing; constants that are the fault tested
        return torch.jit.trace(module.eval(), torch.zeros(shape))


def convert_module(module: nn.Module, shape: tuple[int, ...], path: Path) -> Package:
    """Traces a module, converts it with float16 inputs and outputs and returns the package read back."""
    vendor.prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coremltools as ct
        import numpy as np

        inputs, outputs = [ct.TensorType(name="x", shape=shape, dtype=np.float16)], [ct.TensorType(dtype=np.float16)]
    return convert(traced_module(module, shape), path, inputs=inputs, outputs=outputs)


@pytest.fixture
def save(tmp_path: Path) -> Saver:
    return lambda source, *args, **options: convert(source, tmp_path / "model.mlpackage", *args, **options)
