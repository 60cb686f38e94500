"""What runs badly in a saved asset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from slide_export.core.lint import Device, Finding, Rule, judge

from .asset import SUFFIX, Asset, read_asset

SHAPES = frozenset({"get_shape", "broadcast_shapes", "gather_nd", "reduce_product"})
"""Operations on shapes, which a program with an open batch computes at each call."""
MOST_SHAPES = 0.05
"""Of the operations: a Slide-Swin-T of a fixed batch has 4 in 100, from sizes that its windows do not divide."""


def is_artifact(path: Path) -> bool:
    """Whether a path is an asset of Core AI, by its ending."""
    return path.suffix == SUFFIX and path.is_dir()


def lint_artifact(path: Path) -> tuple[Finding, ...]:
    """Findings in a saved asset.

    Raises:
        BundleError: the asset cannot be read.
    """
    return judge(RULES, read_asset(path), ("coreai",))


def _computed_shapes(asset: Asset) -> Iterator[Device]:
    total = sum(count for _, count in asset.counts)
    shapes = sum(count for name, count in asset.counts if name in SHAPES)
    if shapes > MOST_SHAPES * total:
        yield "", f"{shapes} of {total} operations compute shapes, at each call"


RULES: tuple[Rule[Asset], ...] = (
    Rule(
        "coreai-computed-shapes",
        "hint",
        ("coreai",),
        _computed_shapes,
        "export with one batch size, the option batch: sizes are then constants",
        "coreai-torch 0.4.3, counted in the program; no device was asked",
        confirmed=False,
    ),
)
