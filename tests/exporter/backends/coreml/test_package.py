"""Images are cut into permitted batches, the largest first; sizes that do not add up are refused."""

from pathlib import Path

import numpy as np
import pytest

from slide_export.backends.coreml.package import as_fed, batch_sizes, pieces, read_package
from slide_export.core.errors import BundleError, RequestError
from slide_export.mil import Feature


@pytest.mark.parametrize(
    ("count", "sizes", "cut"),
    [
        (6, [3, 2, 1], [(0, 3), (3, 6)]),
        (5, [3, 2, 1], [(0, 3), (3, 5)]),
        (1, [3, 2, 1], [(0, 1)]),
        (8, [8], [(0, 8)]),
        (16, [8], [(0, 8), (8, 16)]),
        (0, [1], []),
    ],
)
def test_the_largest_batch_that_fits_comes_first(count: int, sizes: list[int], cut: list[tuple[int, int]]) -> None:
    assert list(pieces(count, sizes)) == cut


@pytest.mark.parametrize(("count", "sizes"), [(7, [8]), (9, [8]), (1, [3, 2])])
def test_images_that_no_batch_takes_are_refused(count: int, sizes: list[int]) -> None:
    with pytest.raises(RequestError, match=f"expected a batch of {' or '.join(map(str, sizes))}, found {count} images"):
        list(pieces(count, sizes))


def test_permitted_batches_are_the_enumerated_or_the_only_one() -> None:
    listed = Feature("x", "array", "fp32", (1, 3), (), ((1, 3), (8, 3), (2, 3)))
    assert batch_sizes(listed) == [8, 2, 1]
    assert batch_sizes(Feature("x", "array", "fp32", (4, 3))) == [4]


def test_a_picture_goes_in_alone_and_an_array_as_float32() -> None:
    images = np.ones((1, 4, 4, 3), np.uint8)
    assert as_fed(Feature("x", "image"), images).shape == (4, 4, 3)
    fed = as_fed(Feature("x", "array"), images)
    assert (fed.dtype, fed.shape) == (np.float32, images.shape)


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected an ML Program at"):
        read_package(tmp_path)
