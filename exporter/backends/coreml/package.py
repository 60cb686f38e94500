"""Reading a saved package, and cutting images into the batches that it permits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.errors import BundleError, RequestError

if TYPE_CHECKING:
    from slide_export.mil import Feature, Package


def read_package(path: Path) -> Package:
    """Read a package.

    Raises:
        BundleError: it is none.
    """
    from slide_export.mil import MilError, Package
    from slide_export.mil.convert import no_progress

    try:
        with no_progress():  # the first import of coremltools logs what it lacks
            return Package.read(path)
    except MilError as error:
        raise BundleError(f"expected an ML Program at {path}: {error}") from error


def batch_sizes(entry: Feature) -> list[int]:
    """Batch sizes that an input permits, the largest first."""
    return sorted({shape[0] for shape in entry.choices or (entry.shape,)}, reverse=True)


def as_fed(entry: Feature, images: Array) -> Array:
    """What the package takes for a permitted batch: one picture, or an array of float32."""
    return images[0] if entry.kind == "image" else images.astype(np.float32)


def pieces(count: int, sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Start and end of each batch, the largest first: 6 images in batches of 1, 2, 3 are (0, 3), (3, 6).

    Raises:
        RequestError: the sizes do not add up to the count.
    """
    start = 0
    while start < count:
        size = next((size for size in sizes if size <= count - start), None)
        if size is None:
            raise RequestError(f"expected a batch of {' or '.join(map(str, sizes))}, found {count} images")
        yield start, start + size
        start += size
