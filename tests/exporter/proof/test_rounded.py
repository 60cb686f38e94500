"""The simulated precision costs what that precision costs."""

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.core.precision import BF16, FP16, FP32, INT8, PRECISIONS
from slide_export.proof.rounded import at_precision
from tests.models.test_sorting import Once


def test_fp32_is_the_module_itself(model: Model) -> None:
    assert at_precision(model.module, FP32) is model.module


def test_fp16_rounds_weights_and_results_but_sums_in_float32() -> None:
    layer, x = nn.Linear(300, 4), torch.randn(5, 300)
    with torch.inference_mode():
        found = at_precision(layer, FP16)(x).numpy()
    weight, bias = (
        value.detach().numpy().astype(np.float16).astype(np.float64) for value in (layer.weight, layer.bias)
    )
    expected = (x.numpy().astype(np.float64) @ weight.T + bias).astype(np.float16)
    assert np.abs(found - expected).max() <= np.spacing(np.abs(expected).max().astype(np.float16))
    assert np.array_equal(found, found.astype(np.float16))


def test_bf16_rounds_weights_and_results_but_sums_in_float32() -> None:
    layer, x = nn.Linear(300, 4), torch.randn(5, 300)
    with torch.inference_mode():
        found = at_precision(layer, BF16)(x)
    weight, bias = (value.detach().bfloat16().double() for value in (layer.weight, layer.bias))
    expected = (x.double() @ weight.T + bias).bfloat16()
    step = 2.0**-7 * expected.abs().max().double()  # of eight significant bits
    assert (found.double() - expected.double()).abs().max() <= step
    assert torch.equal(found, found.bfloat16().float())


def test_a_kept_module_overflows_nowhere_and_gives_half() -> None:
    norm, large = nn.LayerNorm(8), nn.Linear(8, 4)
    norm.weight.data.mul_(1e6)
    large.weight.data.div_(1e6)
    served, x = nn.Sequential(norm, large, nn.Linear(4, 2)), torch.randn(3, 8)
    with torch.inference_mode():
        assert not at_precision(served, FP16)(x).isfinite().all()
        kept = at_precision(served, FP16, ("1",))(x)
        assert not torch.equal(kept, served(x))
        assert torch.equal(kept, kept.half().float())
        assert (kept - served(x)).abs().max() < 1e-2


def half(value: torch.Tensor) -> torch.Tensor:
    return value.half().float()


def rounded(layer: nn.Linear, fed: torch.Tensor) -> torch.Tensor:
    return half(nn.functional.linear(half(fed), half(layer.weight), half(layer.bias)))


class Sorts(nn.Module):
    """Sorts by its input, and goes on with what it was fed."""

    def __init__(self) -> None:
        super().__init__()
        self.sort, self.first, self.last = Once(), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sort(x)
        return self.last(self.first(x))


def test_rounding_goes_on_behind_a_layer_that_sorts() -> None:
    torch.manual_seed(0)
    served, x = Sorts(), half(torch.randn(3, 4))
    with torch.inference_mode():
        found = at_precision(served, FP16)(x)
        assert torch.equal(found, rounded(served.last, rounded(served.first, x)))
        assert not torch.equal(found, half(nn.functional.linear(served.first(x), half(served.last.weight))))


class Table(nn.Module):
    """A module with a table that no training moves."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("table", torch.rand(8, 8))


@pytest.mark.parametrize("name", ["fp16", "w16"])
def test_a_table_is_rounded_unless_its_own_module_is_kept(name: str) -> None:
    torch.manual_seed(0)
    served = nn.Sequential(nn.Sequential(Table()), Table())
    copied = at_precision(served, PRECISIONS[name], ("0.0",))
    kept, other = (copied.get_buffer(f"{'rounded.' if name == 'fp16' else ''}{place}.table") for place in ("0.0", "1"))
    assert torch.equal(kept, served.get_buffer("0.0.table"))
    assert torch.equal(other, half(served.get_buffer("1.table")))
    assert not torch.equal(other, served.get_buffer("1.table"))


def test_what_one_kept_module_hands_to_another_is_float32() -> None:
    torch.manual_seed(0)
    first, second, third, last = (nn.Linear(8, 8) for _ in range(4))
    served, x = nn.Sequential(first, nn.Sequential(second, third), last), torch.randn(3, 8)
    with torch.inference_mode():
        found = at_precision(served, FP16, ("1", "1.0", "1.1"))(x)
        inside = third(second(rounded(first, x)))
        assert not torch.equal(inside, half(inside))
        assert torch.equal(found, rounded(last, half(inside)))


def test_beside_a_kept_module_a_norm_reads_half_and_gives_float() -> None:
    """Two norms one after the other: what the first gives is float32, what the second reads is float16."""
    torch.manual_seed(0)
    first, second, kept = nn.LayerNorm(8), nn.LayerNorm(8), nn.Linear(8, 4)
    for norm in (first, second):
        norm.weight.data = torch.rand(8) + 0.5
    x = torch.randn(3, 8) * 100 + 3
    with torch.inference_mode():
        found = at_precision(nn.Sequential(first, second, kept), FP16, ("2",))(x)
        expected = kept(second(first(x.half().float()).half().float()))
    assert torch.equal(found, expected.half().float())


class Adds(nn.Module):
    """A layer, and a sum that is asked for by a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.add(self.layer(x), x, alpha=3)


@pytest.mark.parametrize("keep", [(), ("layer",)])
def test_keywords_of_an_operator_are_handed_on(keep: tuple[str, ...]) -> None:
    torch.manual_seed(0)
    served, x = Adds(), half(torch.randn(3, 4))
    with torch.inference_mode():
        inside = half(served.layer(x)) if keep else rounded(served.layer, x)
        assert torch.equal(at_precision(served, FP16, keep)(x), half(inside + 3 * x))


def test_the_trained_model_is_left_alone(model: Model) -> None:
    before = model.module.get_parameter("head.weight").clone()
    at_precision(model.module, FP16)
    assert torch.equal(model.module.get_parameter("head.weight"), before)


def test_int8_has_no_floor_yet(model: Model) -> None:
    with pytest.raises(RequestError, match="fp32, w16, fp16 or bf16"):
        at_precision(model.module, INT8)


def test_w16_rounds_weights_alone_and_leaves_vectors() -> None:
    layer, x = nn.Linear(300, 4), torch.randn(5, 300)
    with torch.inference_mode():
        found = at_precision(layer, PRECISIONS["w16"])(x)
        expected = torch.nn.functional.linear(x, layer.weight.half().float(), layer.bias)
    assert torch.equal(found, expected)  # bias and sums in float32
    assert not torch.equal(layer.weight, layer.weight.half().float())  # the source is not changed


def test_w16_keeps_what_it_is_told_to() -> None:
    served, x = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2)), torch.randn(3, 8)
    kept = at_precision(served, PRECISIONS["w16"], ("0",))
    assert torch.equal(kept.get_submodule("0").weight, served[0].weight)
    assert not torch.equal(kept.get_submodule("1").weight, served[1].weight)
    assert kept(x).shape == (3, 2)
