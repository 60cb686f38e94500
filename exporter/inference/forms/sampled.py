"""Deformable attention in each form of sampling; `models.sampling` has both."""

from __future__ import annotations

from slide_export.models.deformable_attention import FusedDeformableAttention, in_form


def hats(fused: FusedDeformableAttention) -> FusedDeformableAttention:
    """Deformable attention that samples by products with hats."""
    return in_form(fused, "hats")


def grid_sample(fused: FusedDeformableAttention) -> FusedDeformableAttention:
    """Deformable attention that samples by GridSample."""
    return in_form(fused, "grid_sample")
