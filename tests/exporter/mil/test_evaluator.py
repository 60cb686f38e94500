from typing import Any

import numpy as np
import pytest
import torch

from slide_export.mil import Evaluator, MilError
from slide_export.mil.evaluator import Mode

# One rounding to fp16 is at most 2**-11 relative; the programs below round a handful of times.
FP16 = 2e-3
FP32 = 1e-6


def builder() -> Any:
    from coremltools.converters.mil.mil import Builder

    return Builder


def gelu_chain() -> Any:
    mb = builder()

    @mb.program(input_specs=[mb.TensorSpec(shape=(2, 8))])
    def program(x: Any) -> Any:
        wide = mb.mul(x=x, y=np.float32(3.0), name="wide")
        return mb.gelu(x=wide, mode="EXACT", name="y")

    return program


@pytest.mark.parametrize(("precision", "mode", "tolerance"), [("fp32", "typed", FP32), ("fp16", "float32", FP32)])
def test_float32_maths(save: Any, precision: str, mode: Mode, tolerance: float) -> None:
    x = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(x).double() * 3).numpy()
    found = Evaluator(save(gelu_chain(), precision), mode).run({"x": x})["y"]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()


def test_typed_mode_stores_fp16_values(save: Any) -> None:
    x = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    package = save(gelu_chain(), "fp16")
    name = next(op.outputs[0].name for op in package.operations() if op.type == "gelu")
    found = Evaluator(package, "typed").run({"x": x}, watch=[name])[name]
    stored = x.astype(np.float16)  # the program's first step
    wide = (stored.astype(np.float32) * 3).astype(np.float16).astype(np.float32)
    expected = torch.nn.functional.gelu(torch.from_numpy(wide)).numpy().astype(np.float16)
    assert np.array_equal(found, expected.astype(np.float32))


def test_watch_returns_intermediates(save: Any) -> None:
    x = np.ones((2, 8), np.float32)
    outputs = Evaluator(save(gelu_chain())).run({"x": x}, watch=["wide"])
    assert np.array_equal(outputs["wide"], 3 * x)


def test_watch_of_an_unknown_name_is_refused(save: Any) -> None:
    with pytest.raises(MilError, match="nowhere"):
        Evaluator(save(gelu_chain())).run({"x": np.ones((2, 8), np.float32)}, watch=["nowhere"])


def test_unknown_mode_is_refused(save: Any) -> None:
    with pytest.raises(MilError, match="half"):
        Evaluator(save(gelu_chain()), "half")  # type: ignore[arg-type]


def test_unknown_operation_is_named(save: Any) -> None:
    mb = builder()

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 3, 4, 4))])
    def program(x: Any) -> Any:
        return mb.crop(x=x, crop_height=[1, 1], crop_width=[1, 1], name="cut")

    with pytest.raises(MilError, match=r"operation 'crop' \('cut'\)"):
        Evaluator(save(program))


def test_unsupported_parameter_value_is_named(save: Any) -> None:
    import coremltools as ct

    mb = builder()

    @mb.program(input_specs=[mb.TensorSpec(shape=(1, 1, 2, 2))], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        modes = {"interpolation_mode": "NEAREST_NEIGHBOR", "sampling_mode": "OFFSET_CORNERS"}
        return mb.resize(x=x, shape=np.array([4, 4], np.int32), resized_dims=np.uint32(2), name="grown", **modes)

    evaluator = Evaluator(save(program))
    with pytest.raises(MilError, match="resize 'grown': NEAREST_NEIGHBOR in mode OFFSET_CORNERS"):
        evaluator.run({"x": np.ones((1, 1, 2, 2), np.float32)})


def overflow() -> Any:
    mb = builder()

    @mb.program(input_specs=[mb.TensorSpec(shape=(4,))])
    def program(x: Any) -> Any:
        return mb.sqrt(x=mb.square(x=x, name="squared"), name="y")

    return program


def test_typed_overflows_where_float16_does_and_float32_does_not(save: Any) -> None:
    feeds = {"x": np.array([1.0, 2.0, 300.0, 3.0], np.float32)}  # 300 squared is above 65504
    package = save(overflow(), "fp16")
    name = next(one.name for op in package.operations() for one in op.outputs if one.name.startswith("squared"))
    for mode, finite in (("typed", [True, True, False, True]), ("float32", [True] * 4)):
        squared = Evaluator(package, mode).run(feeds, watch=(name,))[name]
        assert np.isfinite(squared).tolist() == finite


class Block(torch.nn.Module):
    """Attention over a 4 x 4 map with a depthwise convolution of multiplier 9, as slide attention has."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(16)
        self.qkv = torch.nn.Linear(16, 48)
        self.shift = torch.nn.Conv2d(16, 144, 3, padding=1, groups=16)
        self.out = torch.nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).split(16, dim=-1)  # each (1, 16, 16)
        taps = self.shift(k.transpose(1, 2).reshape(1, 16, 4, 4)).reshape(16, 9, 16)
        weights = (q[0].transpose(0, 1)[:, None] * taps).sum(0).softmax(0)  # (9, 16)
        mixed = v * weights.mean(0)[None, :, None]
        return x + self.out(torch.nn.functional.gelu(mixed))


@pytest.mark.parametrize(("precision", "mode", "tolerance"), [("fp32", "float32", 1e-5), ("fp16", "typed", FP16)])
@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")
def test_a_traced_attention_block(save: Any, precision: str, mode: Mode, tolerance: float) -> None:
    import coremltools as ct

    torch.manual_seed(0)
    block = Block().eval()
    x = torch.randn(1, 16, 16)
    traced = torch.jit.trace(block, x)
    package = save(traced, precision, inputs=[ct.TensorType("x", x.shape, np.float32)], outputs=[ct.TensorType("y")])
    with torch.no_grad():
        expected = block(x).numpy()
    found = Evaluator(package, mode).run({"x": x.numpy()})["y"]
    assert np.abs(found - expected).max() < tolerance * np.abs(expected).max()
