r"""Swin with Im2Col local attention in its first stages: for comparison only, the form that slide attention replaces.

Of one head with d channels, for the k*k taps o of the neighbourhood, whose keys and values are gathered by `F.unfold`:

    a = softmax over o of  sum_c q[c] (k(shifted by o)[c] + R[o])          out[c] = sum_o a_o v(shifted by o)[c]

Source: stand-alone self-attention (Ramachandran et al. 2019, arXiv 1906.05909, section 3, equation 2) as
Slide-Transformer draws it in figures 2 and 3; its authors published no code of it, only speeds. Skeleton, projections,
relative position bias and zero padding (not masked) are those of `slide_attention`, so that the gather is all that
differs: it equals `SlideAttention` whose learned path is zero. The key names are ours.
"""

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from . import slide_swin, swin
from .family import State
from .slide_attention import SlideBlock, head_maps, slide


class Im2colAttention(nn.Module):
    """Local attention over k*k gathered neighbours.

    Args:
        dim: channels C.
        heads: number of heads nH; d = C / nH.
        kernel_size: side k of the neighbourhood, odd.
    """

    def __init__(self, dim: int, heads: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.heads, self.kernel_size = heads, kernel_size
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.relative_position_bias_table = nn.Parameter(
            nn.init.trunc_normal_(self.qkv.weight.new_empty(1, heads, 1, kernel_size**2, 1, 1), std=0.02)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Attend to the k*k neighbours, gathered by `F.unfold`: [B, H, W, C] -> [B, H, W, C]."""
        q, k, v = head_maps(self.qkv(x), self.heads)
        side = self.kernel_size
        k, v = (functional.unfold(part, side, padding=side // 2) for part in (k, v))  # [B*nH, d*k*k, HW]
        return self.proj(slide(q * self.scale, k, v, self.relative_position_bias_table, x.shape))


def build(config: swin.SwinConfig) -> nn.Module:
    """Build the Slide-Swin of the same numbers, its slide attention replaced by Im2Col attention."""
    model = swin.SwinTransformer(config)
    for stage, layer in enumerate(model.layers):
        for block in layer.modules():
            if isinstance(block, SlideBlock):
                width = block.attn.qkv.in_features
                block.add_module("attn", Im2colAttention(width, config.heads[stage], config.kernel_size))
    return model


def matches(state: State) -> bool:
    """Whether the keys are those of a Swin whose first stage has a bias per tap and no convolution."""
    table = state.get("layers.0.blocks.0.attn.relative_position_bias_table")
    return swin.matches(state) and table is not None and table.ndim == 6


VARIANTS = {name.replace("slide", "im2col"): size for name, size in slide_swin.VARIANTS.items()}

FAMILY = replace(
    slide_swin.FAMILY,
    name="im2col_swin",
    variants=VARIANTS,
    resize=swin.resize,
    matches=matches,
    read_config=lambda _tree: None,
    build=build,
    published={},
)
