"""Norms of the maps that a backbone hands to a neck; the last stage's is the one in front of the classifier."""

from torch import Tensor, nn


class FeatureNorms(nn.Module):
    """A backbone with a LayerNorm `norm{stage}` (0-based) on the maps of some stages, and its own `norm` on the last.

    Source: SwinTransformer/Swin-Transformer-Object-Detection c7b2011, mmdet/models/backbones/swin_transformer.py; the
    stage goes on with the map as it is.
    """

    norm: nn.LayerNorm
    feature_norms: tuple[int, ...]
    last: int

    def add_feature_norms(self, stages: tuple[int, ...], widths: tuple[int, ...], eps: float) -> None:
        """Make the norms of some stages.

        Args:
            stages: 0-based.
            widths: channels of every stage.
            eps: of each norm.
        """
        self.feature_norms, self.last = stages, len(widths) - 1
        for stage in set(stages) - {self.last}:
            self.add_module(f"norm{stage}", nn.LayerNorm(widths[stage], eps=eps))

    def normed(self, x: Tensor, stage: int) -> Tensor:
        """A stage's map [B, H, W, C] as a neck takes it."""
        if stage not in self.feature_norms:
            return x
        normed: Tensor = self.norm(x) if stage == self.last else self.get_submodule(f"norm{stage}")(x)
        return normed
