"""Every form is the two-path module, in float64, over random shapes (all forms share this proof)."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from slide_export.calibration.recipe import default
from slide_export.inference.forms import FORMS
from slide_export.models.slide_attention import LepeSlideAttention, SlideAttention
from slide_export.proof.fake_quant import kind_of
from tests.conftest import randomise

ROUNDING = 1e-11  # float64: the forms add the same terms in another order


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=20, derandomize=True)
@given(
    kernel=st.sampled_from([3, 5, 7]),
    heads=st.integers(1, 3),
    width=st.sampled_from([2, 4]),
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    batch=st.integers(1, 3),
    drift=st.booleans(),
    lepe=st.booleans(),
)
def test_form_is_the_two_path_module(
    form: str, kernel: int, heads: int, width: int, rows: int, cols: int, batch: int, drift: bool, lepe: bool
) -> None:
    kind = LepeSlideAttention if lepe else SlideAttention
    attention = randomise(kind(heads * width, heads, kernel), seed=rows * cols).double()
    if drift:
        with torch.no_grad():
            attention.dep_conv.weight += 0.1 * torch.randn_like(attention.dep_conv.weight)
    lowered = FORMS[form](attention.fuse()).eval()
    x = torch.randn(batch, rows, cols, heads * width, dtype=torch.float64)
    with torch.inference_mode():
        assert (lowered(x) - attention(x)).abs().max() < ROUNDING


@pytest.mark.parametrize("form", FORMS)
def test_form_fails_this_proof_with_one_wrong_weight(form: str) -> None:
    attention = randomise(SlideAttention(8, 2)).double()
    lowered = FORMS[form](attention.fuse()).eval()
    with torch.no_grad():
        next(lowered.parameters()).flatten()[0] += 1e-3  # the first weight of the queries
    x = torch.randn(1, 4, 4, 8, dtype=torch.float64)
    assert (lowered(x) - attention(x)).abs().max() > ROUNDING * 1e3


@pytest.mark.parametrize("form", FORMS)
def test_no_tensor_in_a_form_is_above_rank_4(form: str) -> None:
    attention = SlideAttention(8, 2).eval()
    seen: list[int] = []

    class Ranks(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            result = func(*args, **(kwargs or {}))
            seen.extend(
                part.ndim for part in (result if isinstance(result, tuple) else (result,)) if hasattr(part, "ndim")
            )
            return result

    lowered = FORMS[form](attention.fuse())
    with Ranks():
        lowered(torch.randn(2, 5, 5, 8))
    assert max(seen) == 4


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_a_recipe_quantizes_the_layers_of_the_model_alone(form: str, heads: int) -> None:
    """With one head the sums of taps are no grouped convolutions any more; they are the attention's still."""
    lowered = FORMS[form](randomise(LepeSlideAttention(8 * heads, heads)).fuse())
    recipe = default("onnx", "int8")
    named = {name: layer for name, layer in lowered.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)}
    chosen = {name for name, layer in named.items() if recipe.quantizes(f"a.{name}", kind_of(layer))}
    assert chosen == named.keys() & {"q", "k", "v", "qkv", "proj"} != set()
