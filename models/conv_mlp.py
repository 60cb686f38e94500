"""PVTv2's MLP: a depthwise 3x3 convolution between its two linear layers.

Source: whai362/PVT 57e2dfa, classification/pvt_v2.py, Mlp and DWConv.
"""

from torch import Tensor, nn
from torch.nn import functional


class ConvMlp(nn.Module):
    """Linear layer, depthwise convolution, exact (erf) GELU, linear layer.

    Args:
        dim: channels C.
        hidden: channels between the linear layers.
        relu: whether a ReLU stands before the convolution, as in PVTv2's linear form.
    """

    def __init__(self, dim: int, hidden: int, *, relu: bool = False) -> None:
        super().__init__()
        self.relu = relu
        self.fc1 = nn.Linear(dim, hidden)
        self.dwconv = DepthwiseConv(hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Linear, depthwise 3x3, GELU, linear: [B, H, W, C] -> [B, H, W, C]."""
        x = self.fc1(x)
        return self.fc2(functional.gelu(self.dwconv(x.relu() if self.relu else x)))

    def fuse(self) -> "FusedConvMlp":
        """Inference form, sharing this layer's weights."""
        return FusedConvMlp(self)

    reparameterize = fuse


class FusedConvMlp(nn.Module):
    """The inference form: the linear layers are 1x1 convolutions, so the wide map is never transposed."""

    def __init__(self, trained: ConvMlp) -> None:
        super().__init__()
        self.relu = trained.relu
        self.fc1, self.dwconv, self.fc2 = pointwise(trained.fc1), trained.dwconv.dwconv, pointwise(trained.fc2)

    def forward(self, x: Tensor) -> Tensor:
        """Same function, channels first inside: [B, H, W, C] -> [B, H, W, C]."""
        x = self.fc1(x.permute(0, 3, 1, 2))  # [B, hidden, H, W]
        x = functional.gelu(self.dwconv(x.relu() if self.relu else x))
        return self.fc2(x).permute(0, 2, 3, 1)


class DepthwiseConv(nn.Module):
    """Depthwise 3x3 convolution with zeros around the map."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Depthwise 3x3 convolution: [B, H, W, C] -> [B, H, W, C]."""
        return self.dwconv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def pointwise(layer: nn.Linear) -> nn.Conv2d:
    """Linear layer over channels as a 1x1 convolution, sharing its weights: [out, in] -> [out, in, 1, 1]."""
    conv = nn.Conv2d(layer.in_features, layer.out_features, 1, device="meta")
    conv.weight = nn.Parameter(layer.weight.detach()[:, :, None, None], requires_grad=False)
    conv.bias = nn.Parameter(layer.bias.detach(), requires_grad=False)
    return conv


def with_identity(conv: nn.Conv2d) -> nn.Conv2d:
    """Make one depthwise convolution of x + conv(x): 1 is added to the middle of each kernel."""
    fused = nn.Conv2d(conv.in_channels, conv.out_channels, 3, padding=1, groups=conv.groups, device="meta")
    weight = conv.weight.detach().clone()
    weight[:, 0, 1, 1] += 1
    fused.weight = nn.Parameter(weight, requires_grad=False)
    fused.bias = conv.bias
    return fused


class ChannelsLastConv(nn.Module):
    """A convolution of a map whose channels are last."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, x: Tensor) -> Tensor:
        """Convolve x [B, H, W, C], to [B, h, w, outputs]."""
        return self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
