"""Arrays survive a line of text."""

import numpy as np
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from slide_export.benchmark.arrays import packed, unpacked


@given(arrays(np.float32, array_shapes(max_dims=4)))
def test_arrays_come_back_as_they_went(array: np.ndarray) -> None:
    (found,) = unpacked(packed({"images": array})).values()
    assert found.tobytes() == array.tobytes()
    assert (found.shape, found.dtype) == (array.shape, array.dtype)
