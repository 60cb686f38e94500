"""The table of precisions: names are refused with the list, and the constants are those of the formats."""

import numpy as np
import pytest

from slide_export.core.errors import RequestError
from slide_export.core.precision import FP16, FP32, INT8, PRECISIONS, W8, precision_named

# Each bound lies where the docstrings of the constants say what was seen of sound models and of one wrong weight.
BOUNDS = {  # times the noise floor, dB, spreads, share of weight bytes, share of products
    "fp32": (8.0, 60.0, 1.0, 1.0, 1.0),
    "w16": (8.0, 35.0, 1.0, 0.95, 0.0),
    "fp16": (8.0, 35.0, 1.0, 0.95, 0.95),
    "bf16": (8.0, 17.0, 1.0, 0.95, 0.95),
    "int8": (4.0, 0.0, 2.0, 0.5, 0.0),
    "int8-dynamic": (4.0, 0.0, 2.0, 0.5, 0.0),
    "w8": (4.0, 0.0, 2.0, 0.5, 0.0),
}


def test_no_bound_moves_unseen() -> None:
    """A proof is worth its bounds: whoever moves one moves it here too, with the reason beside the constant."""
    found = {
        name: (one.tolerance_factor, one.least_db, one.sure_margin, one.stored_share, one.computed_share)
        for name, one in PRECISIONS.items()
    }
    assert found == BOUNDS


def test_each_precision_says_how_it_computes() -> None:
    assert [name for name, one in PRECISIONS.items() if one.calibrated] == ["int8"]
    assert [name for name, one in PRECISIONS.items() if one.quantized] == ["int8", "int8-dynamic", "w8"]
    assert [name for name, one in PRECISIONS.items() if one.computes_integers] == ["int8", "int8-dynamic"]
    assert [name for name, one in PRECISIONS.items() if one.weights_alone] == ["w16", "w8"]
    assert [name for name, one in PRECISIONS.items() if one.needs_hardware] == ["bf16"]


def test_a_name_gives_its_precision_and_an_unknown_one_the_list() -> None:
    assert [precision_named(name) for name in ("fp32", "fp16", "int8", "w8")] == [FP32, FP16, INT8, W8]
    with pytest.raises(
        RequestError, match="expected a precision of fp32, w16, fp16, bf16, int8, int8-dynamic, w8; found 'fp7'"
    ):
        precision_named("fp7")


def test_the_rounding_is_half_the_distance_of_neighbours() -> None:
    assert FP32.rounding == np.finfo(np.float32).eps / 2
    assert FP16.rounding == np.finfo(np.float16).eps / 2
    assert PRECISIONS["bf16"].rounding == 2.0**-8  # 7 stored bits of the significand


def test_a_smaller_type_may_cost_more_and_none_may_drown_the_signal() -> None:
    bounds = [precision.least_db for precision in (FP32, FP16, W8, INT8)]
    assert bounds == sorted(bounds, reverse=True)
    assert min(precision.least_db for precision in PRECISIONS.values()) >= 0
