"""A verdict turns where its bounds say, on both sides of each."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from slide_export.core.proof import (
    BATCH_SIZES,
    Acceptance,
    Flip,
    OrderParity,
    OutputParity,
    ParityReport,
    Reference,
    Rule,
    RuleParity,
    batch_sizes,
)

FINE = OutputParity("logits", 1e-6, 1e-7, 2e-7, 5e-7, 1e-7, 4e-6, 8e-7, 130.0, 1.0, 40.0)
PROOF = ParityReport("a runtime", "photos", 8, (1, 2), (FINE,), 1.0, (), Acceptance(8))
INFINITE, NAN = float("inf"), float("nan")


def flips(count: int) -> tuple[Flip, ...]:
    """Flips of so many images."""
    return tuple(Flip(f"{index}.jpg", 3, 5, 1e-6) for index in range(count))


@pytest.mark.parametrize(
    ("margin", "refused"), [(7.9e-6, False), (2 * 4e-6, False), (8.1e-6, True)]
)  # twice the accepted error of 4e-6
def test_rounding_explains_a_flip_up_to_twice_the_accepted_error(margin: float, refused: bool) -> None:
    proof = replace(PROOF, flips=(Flip("a.jpg", 3, 5, margin),))
    assert bool(proof.confident_flips) is refused
    assert proof.passed is not refused


def test_an_error_at_its_limit_passes() -> None:
    assert replace(PROOF, outputs=(replace(FINE, max_abs=FINE.limit_max, rms=FINE.limit_rms),)).passed


@pytest.mark.parametrize(
    ("error", "limit", "share"),
    [
        (4e-6, 4e-6, 1.0),
        (3e-6, 4e-6, 0.75),
        (1e-6, 1e-9, 1e3),
        (0.0, 4e-6, 0.0),
        (0.0, 0.0, 0.0),
        (1e-9, 0.0, INFINITE),
        (NAN, 4e-6, INFINITE),
        (1e-6, NAN, INFINITE),
        (INFINITE, 4e-6, INFINITE),
        (1e-6, INFINITE, INFINITE),  # nothing is within it
        (0.0, INFINITE, INFINITE),
    ],
)
def test_the_share_of_a_limit_tells_the_worst_output(error: float, limit: float, share: float) -> None:
    assert replace(FINE, max_abs=error, limit_max=limit).share == pytest.approx(share)


def test_a_share_of_pixels_is_compared_as_it_is() -> None:
    """Pixels flip together, so no binomial test: 0.9 of them is enough and less is not."""
    dense = replace(PROOF, accepted=Acceptance(4, None, 0.9), decisions=100)
    assert [replace(dense, top1=share).too_many_flips for share in (0.9, 0.89)] == [False, True]
    assert not replace(dense, decisions=0, top1=None).too_many_flips


def test_two_decisions_are_many() -> None:
    """One flip of 8 images with two decisions each: the share decides, the binomial test would not refuse it."""
    proof = replace(PROOF, accepted=Acceptance(4, None, 0.9), flips=flips(1), top1=0.875)
    assert [replace(proof, decisions=count).too_many_flips for count in (1, 2)] == [False, True]


@pytest.mark.parametrize("images", [1, 8, 50, 200])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_the_share_is_ruled_out_where_the_binomial_distribution_does(images: int, share: float) -> None:
    """At one percent: refused exactly where so few agree by chance in fewer than one of a hundred cases."""
    proof = replace(PROOF, images=images, accepted=Acceptance(4, None, share))
    for wrong in range(images + 1):
        found = replace(proof, flips=flips(wrong), top1=1 - wrong / images)
        assert found.too_many_flips is bool(binom.cdf(images - wrong, images, share) < 0.01)


@pytest.mark.parametrize(
    "change", [{"max_abs": INFINITE, "limit_max": INFINITE}, {"rms": NAN}, {"limit_rms": INFINITE}]
)
def test_nothing_that_is_not_finite_passes(change: dict[str, float]) -> None:
    assert not replace(FINE, **change).passed


@pytest.mark.parametrize(("field", "bound"), [("sqnr_db", "min_sqnr_db"), ("centred_db", "least_db")])
def test_a_bound_in_db_is_met_by_what_equals_it(field: str, bound: str) -> None:
    accepted = replace(Acceptance(8), **{bound: 40.0})
    passed = [
        replace(PROOF, outputs=(replace(FINE, **{field: value}),), accepted=accepted).passed
        for value in (40.0, 39.9, NAN)
    ]
    assert passed == [True, False, False]


@pytest.mark.parametrize(("margin", "refused"), [(1.9, False), (2.0, False), (2.1, True)])
def test_a_sure_decision_is_one_above_the_margin_of_spreads(margin: float, refused: bool) -> None:
    flip = Flip("a.jpg", 3, 5, margin)
    proof = replace(PROOF, flips=(flip,), accepted=Acceptance(8, sure_margin=2.0), spread=1.0)
    assert bool(proof.sure_flips) is refused
    assert not replace(proof, spread=None).sure_flips
    assert not replace(proof, accepted=Acceptance(8)).sure_flips


def test_a_flip_is_measured_by_the_widest_output() -> None:
    proof = replace(PROOF, outputs=(FINE, replace(FINE, limit_max=1.0)), flips=(Flip("a.jpg", 3, 5, 1.9),))
    assert not proof.confident_flips
    assert replace(proof, outputs=(FINE,)).confident_flips


def test_without_an_output_nothing_explains_a_flip() -> None:
    assert replace(PROOF, outputs=(), flips=flips(1)).confident_flips


def test_batches_of_none_and_of_one_are_told_from_many() -> None:
    """1, which exporters bake in; 2, which they trace with; 3, no power of two; 8, what the rest is run in."""
    assert BATCH_SIZES == (1, 2, 3, 8)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((224, 224), (1, 2, 3, 8)), ((512, 512), (1, 2, 3, 8)), ((512, 513), (1, 2, 3)), ((800, 1344), (1, 2))],
)
def test_a_batch_of_large_images_is_checked_at_fewer_sizes(size: tuple[int, int], expected: tuple[int, ...]) -> None:
    assert batch_sizes(3 * size[0] * size[1]) == expected


@pytest.mark.parametrize("faults", [0, 1, 2])
def test_one_answer_that_does_not_follow_is_too_many(faults: int) -> None:
    found = replace(PROOF, rule=RuleParity("kept", 9, faults, 9, 9))
    assert found.broken_rule is (faults > 0)
    assert found.passed is (faults == 0)


def test_the_tightest_output_is_nearest_to_its_own_limit() -> None:
    near = replace(FINE, name="map", max_abs=0.9, limit_max=1.0)
    for outputs in ((FINE, near), (near, FINE)):
        assert replace(PROOF, outputs=outputs).tightest is near


def test_one_bad_output_of_two_is_enough() -> None:
    assert not replace(PROOF, outputs=(FINE, replace(FINE, max_abs=1.0))).passed


ORDER = OrderParity("attn", 49, 0, 1e-6, 1e-7, 1e-6, 1e-7, 0.0)


@pytest.mark.parametrize(
    ("changes", "passed"),
    [
        ({}, True),
        ({"strayed": 1}, False),
        ({"disorder": 1.1e-6}, False),
        ({"displaced_rms": 1.1e-7}, False),
        ({"limit_max": INFINITE}, False),
        ({"limit_rms": INFINITE}, False),
        ({"disorder": NAN}, False),
        ({"limit_rms": NAN}, False),
    ],
)
def test_an_order_sorts_within_finite_limits(changes: dict[str, float], passed: bool) -> None:
    assert replace(ORDER, **changes).passed is passed  # type: ignore[arg-type]


def test_scores_are_neither_decisions_nor_what_follows_from_others() -> None:
    rule = Rule("detections", lambda _found, _exact: RuleParity("detections", 0, 0, 0, 0))
    one = np.zeros((1, 1))
    reference = Reference(
        "photos", ("a",), {}, {"logits": one, "classes": one, "detections": one}, {}, {"classes": one}
    )
    assert reference.scores == ("logits", "detections")
    assert replace(reference, rule=rule).scores == ("logits",)
    assert replace(reference, margins={}).scores == ("logits", "classes", "detections")
