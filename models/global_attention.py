"""GAM, the global attention mechanism, in the forms that are in circulation.

    x1 = x  * c(W2 relu(W1 x))                                   an MLP over the channels of each position
    x2 = x1 * s(BN(conv7x7(relu(BN(conv7x7(x1))))))              both convolutions through C / rate channels

    dialect   c, on the channel branch   convolutions        s, on the spatial branch
    a         sigmoid                    dense               sigmoid
    a_plain   nothing                    dense               sigmoid
    b         nothing                    `rate` groups       sigmoid, then the channels of the map shuffled in 4 groups
    c         nothing                    dense, edge padded  sigmoid

Source: Liu et al., arXiv 2112.05561, equations 1 and 2, which name no sigmoid. a: z1069614715/objectdetection_script,
cv-attention/GAM.py. a_plain: blog.csdn.net/hb_learing, article 121975033, the oldest and most copied. b: its form for
YOLO (c1, c2, group=True, rate=4). c: dengbuqi/GAM_Pytorch f09c9df, CAM.py, GAM. a and a_plain have the same keys and
shapes.
"""

from torch import Tensor, nn

from .batch_norm import fold
from .conv_mlp import pointwise

DIALECTS = ("a", "a_plain", "b", "c")
SHUFFLED = 4  # groups of the shuffle, whatever the rate


class GlobalAttention(nn.Module):
    """GAM in dialect a, a_plain or b.

    Args:
        dim: channels C.
        rate: C over the channels in the middle of both branches.
        dialect: "a", "a_plain" or "b".
    """

    def __init__(self, dim: int, rate: int, dialect: str) -> None:
        super().__init__()
        self.dialect, hidden, groups = dialect, dim // rate, rate if dialect == "b" else 1
        self.channel_attention = nn.Sequential(nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        self.spatial_attention = nn.Sequential(
            nn.Conv2d(dim, hidden, kernel_size=7, padding=3, groups=groups),
            nn.BatchNorm2d(hidden),
            nn.ReLU(),
            nn.Conv2d(hidden, dim, kernel_size=7, padding=3, groups=groups),
            nn.BatchNorm2d(dim),
        )

    def forward(self, x: Tensor) -> Tensor:
        """The weighed map, [B, C, H, W] for x [B, C, H, W]."""
        channel = self.channel_attention(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)  # [B, C, H, W]
        return weigh(x, channel, self.spatial_attention, self.dialect)

    def fuse(self) -> "FusedGlobalAttention":
        """This block's inference form, sharing its weights."""
        first, _, second = self.channel_attention
        return FusedGlobalAttention(_linear(first), _linear(second), self.spatial_attention, self.dialect)

    reparameterize = fuse


class EdgeGlobalAttention(nn.Module):
    """GAM in dialect c: other key names, and the 7x7 convolutions repeat the edge instead of adding zeros."""

    def __init__(self, dim: int, rate: int) -> None:
        super().__init__()
        hidden = dim // rate
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.conv1 = nn.Conv2d(dim, hidden, kernel_size=7, padding=3, padding_mode="replicate")
        self.conv2 = nn.Conv2d(hidden, dim, kernel_size=7, padding=3, padding_mode="replicate")
        self.norm1, self.norm2 = nn.BatchNorm2d(hidden), nn.BatchNorm2d(dim)

    def forward(self, x: Tensor) -> Tensor:
        """The weighed map, [B, C, H, W] for x [B, C, H, W]."""
        channel = self.linear2(self.linear1(x.permute(0, 2, 3, 1)).relu()).permute(0, 3, 1, 2)  # [B, C, H, W]
        return weigh(x, channel, self.spatial(), "c")

    def spatial(self) -> nn.Sequential:
        """The layers of the spatial branch, in order."""
        return nn.Sequential(self.conv1, self.norm1, nn.ReLU(), self.conv2, self.norm2)

    def fuse(self) -> "FusedGlobalAttention":
        """This block's inference form, sharing its weights."""
        return FusedGlobalAttention(self.linear1, self.linear2, self.spatial(), "c")

    reparameterize = fuse


class FusedGlobalAttention(nn.Module):
    """The inference form of every dialect: BatchNorm folded, the MLP as two 1x1 convolutions without transposes."""

    def __init__(self, first: nn.Linear, second: nn.Linear, spatial: nn.Sequential, dialect: str) -> None:
        super().__init__()
        self.dialect = dialect
        self.channel_attention = nn.Sequential(pointwise(first), nn.ReLU(), pointwise(second))
        conv1, norm1, _, conv2, norm2 = spatial
        self.spatial_attention = nn.Sequential(_folded(conv1, norm1), nn.ReLU(), _folded(conv2, norm2))

    def forward(self, x: Tensor) -> Tensor:
        """The weighed map, [B, C, H, W] for x [B, C, H, W]."""
        return weigh(x, self.channel_attention(x), self.spatial_attention, self.dialect)


def _linear(layer: nn.Module) -> nn.Linear:
    if not isinstance(layer, nn.Linear):
        raise TypeError(f"expected a linear layer, found {type(layer).__name__}")
    return layer


def _folded(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
        raise TypeError(f"expected a convolution and its BatchNorm, found {type(conv).__name__}, {type(norm).__name__}")
    return fold(conv, norm)


def weigh(x: Tensor, channel: Tensor, spatial: nn.Module, dialect: str) -> Tensor:
    """The map x weighed by the channel branch, then by the spatial branch of what that leaves; all [B, C, H, W]."""
    x = x * (channel.sigmoid() if dialect == "a" else channel)
    weight = spatial(x).sigmoid()
    return x * (shuffle(weight, SHUFFLED) if dialect == "b" else weight)


def shuffle(x: Tensor, groups: int) -> Tensor:
    """A map [B, C, H, W] whose channel g * (C / groups) + i has moved to i * groups + g."""
    _, dim, rows, cols = x.shape
    x = x.reshape(-1, groups, dim // groups, rows * cols).transpose(1, 2)  # [B, C/groups, groups, HW]
    return x.reshape(-1, dim, rows, cols)


def attention(dim: int, rate: int, dialect: str) -> nn.Module:
    """GAM for a number of channels."""
    return EdgeGlobalAttention(dim, rate) if dialect == "c" else GlobalAttention(dim, rate, dialect)
