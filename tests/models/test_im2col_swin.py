"""Im2Col local attention against its definition, written as loops over pixels, and against slide attention."""

from pathlib import Path

import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.errors import CheckpointError, RequestError
from slide_export.models import COMPARISON, family_of, im2col_swin, ships, swin, variants
from slide_export.models.im2col_swin import Im2colAttention
from slide_export.models.slide_attention import SlideAttention
from tests.conftest import SMALL, randomise

ROUNDING = 1e-12  # float64


def by_definition(attention: Im2colAttention, x: torch.Tensor) -> torch.Tensor:
    """The module's result pixel by pixel: a softmax over the neighbours, zeros outside the map among them."""
    heads, k = attention.heads, attention.kernel_size
    batch, rows, cols, dim = x.shape
    qkv = attention.qkv(x).reshape(batch, rows, cols, heads, 3, dim // heads)
    out = torch.zeros(batch, rows, cols, heads, dim // heads, dtype=x.dtype)
    nothing = torch.zeros(dim // heads, dtype=x.dtype)
    for image in range(batch):
        for head in range(heads):
            bias = attention.relative_position_bias_table[0, head, 0, :, 0, 0]
            for row in range(rows):
                for col in range(cols):
                    near = [(row + i - k // 2, col + j - k // 2) for i in range(k) for j in range(k)]
                    inside = [0 <= r < rows and 0 <= c < cols for r, c in near]
                    pairs = list(zip(near, inside, strict=True))
                    keys = torch.stack([qkv[image, r, c, head, 1] if there else nothing for (r, c), there in pairs])
                    values = torch.stack([qkv[image, r, c, head, 2] if there else nothing for (r, c), there in pairs])
                    q = qkv[image, row, col, head, 0] * (dim // heads) ** -0.5
                    weights = ((keys + bias[:, None]) @ q).softmax(dim=0)
                    out[image, row, col, head] = weights @ values
    return attention.proj(out.reshape(batch, rows, cols, dim))


@pytest.mark.parametrize(("kernel", "heads", "size"), [(3, 1, (4, 5)), (3, 2, (5, 3)), (5, 2, (6, 4)), (7, 3, (3, 8))])
def test_it_is_local_attention(kernel: int, heads: int, size: tuple[int, int]) -> None:
    attention = randomise(Im2colAttention(4 * heads, heads, kernel)).double()
    x = torch.randn(2, *size, 4 * heads, dtype=torch.float64)
    with torch.inference_mode():
        assert (attention(x) - by_definition(attention, x)).abs().max() < ROUNDING


def test_it_is_slide_attention_without_the_learned_path() -> None:
    trained = randomise(SlideAttention(12, 3)).double()
    for value in (trained.dep_conv.bias, trained.dep_conv1.weight, trained.dep_conv1.bias):
        torch.nn.init.zeros_(value)
    same = Im2colAttention(12, 3).double()
    same.load_state_dict({key: value for key, value in trained.state_dict().items() if "dep_conv" not in key})
    x = torch.randn(2, 6, 5, 12, dtype=torch.float64)
    with torch.inference_mode():
        assert (same(x) - trained(x)).abs().max() < ROUNDING
        trained.dep_conv1.weight[0, 0, 0, 0] += 0.01
        assert (same(x) - trained(x)).abs().max() > 1e-6


def test_the_first_two_stages_are_replaced_and_nothing_else() -> None:
    model = im2col_swin.build(SMALL)
    replaced = [name for name, layer in model.named_modules() if isinstance(layer, Im2colAttention)]
    assert replaced == ["layers.0.blocks.0.attn", "layers.1.blocks.0.attn", "layers.1.blocks.1.attn"]
    assert not any("dep_conv" in key for key in model.state_dict())


def test_it_is_recognised_as_itself_and_never_offered() -> None:
    state = im2col_swin.build(SMALL).state_dict()
    assert im2col_swin.matches(state)
    plain = swin.resize(swin.VARIANTS["swin_tiny"].at((64, 64)), SMALL)
    assert not any(im2col_swin.matches(swin.FAMILY.build(config).state_dict()) for config in (SMALL, plain))
    assert not set(variants()) & set(im2col_swin.VARIANTS)
    assert (ships("slide_swin"), ships("im2col_swin")) == (True, False)
    with pytest.raises(KeyError):
        family_of("im2col_swin_tiny")
    assert family_of("im2col_swin_tiny", COMPARISON).name == "im2col_swin"


def test_a_checkpoint_of_it_is_refused_in_one_sentence_unless_it_is_only_measured(tmp_path: Path) -> None:
    path = tmp_path / "im2col.pth"
    torch.save({"model": im2col_swin.build(SMALL).state_dict()}, path)
    with pytest.raises(CheckpointError, match=r"im2col_swin, a model for comparison only: .*`slide-export compare`"):
        load_checkpoint(path)
    with pytest.raises(RequestError, match="found im2col_swin_tiny, a model for comparison only"):
        load_checkpoint(path, variant="im2col_swin_tiny")
    assert load_checkpoint(path, families=COMPARISON).family == "im2col_swin"
