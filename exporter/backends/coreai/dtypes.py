"""What an asset stores and computes in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.artifact import DtypeStats

from .asset import read_asset


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types of the stored tensors and, of each convolution and matrix product, of what it multiplies.

    Raises:
        BundleError: the asset cannot be read.
    """
    asset = read_asset(path)
    stored: Counter[str] = Counter()
    for constant in asset.constants:
        stored[constant.kind] += constant.values.nbytes
    return DtypeStats(dict(stored), dict(Counter(asset.products)))
