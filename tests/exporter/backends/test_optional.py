"""What holds of a backend that leaves a part out, and how what it has is refused or taken."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from slide_export.backends import optional
from slide_export.core.errors import RequestError


def backend(**parts: Any) -> Any:
    return SimpleNamespace(__name__="slide_export.backends.toy", **parts)


BARE = backend()


def test_nothing_is_known_of_a_bare_backend_and_nothing_is_in_its_way() -> None:
    assert optional.unavailable_reason(BARE) is None
    assert optional.precision_obstacle(BARE, "fp16") is None
    assert optional.substitute_runtime(BARE) is None
    assert optional.environment(BARE) is None
    assert optional.fixed_batches(BARE) is None
    assert not optional.one_by_one(BARE)
    assert not optional.suppresses(BARE)
    assert not optional.convolves_by_winograd(BARE)
    assert (optional.runtime_modules(BARE), optional.device_distributions(BARE), optional.lint_facts(BARE)) == (
        (), (), ()
    )  # fmt: skip
    assert optional.companions(BARE, Path("x")) == ()
    assert optional.stored(BARE, Path("x"), {}) is None
    assert optional.plain_load(BARE, Path("x"), {}, ()) is None
    assert optional.harmless_settings(BARE, {"a": 1}) == {"a": 1}
    optional.refuse_settings(BARE, {"anything": "/etc/passwd"}, None)
    counted = optional.dtype_stats(BARE, Path("x"), {})
    assert (counted.counted, counted.fixed, counted.stored) == (False, False, {})


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (lambda: optional.profile(BARE, Path("x"), {}, {}, 1), "a profile is not available for toy: its backend times"),
        (lambda: optional.values(BARE, Path("x"), {}), "diagnose is not available for toy: it shows no intermediate"),
        (lambda: optional.intermediates(BARE, Path("x"), {}, ()), "diagnose is not available for toy: it shows no"),
    ],
)
def test_a_verb_that_needs_a_part_refuses_by_name(ask: Any, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        ask()


@pytest.mark.parametrize("batch", [None, 1, 2, 4096])
def test_any_batch_is_made_where_nothing_bounds_it(batch: int | None) -> None:
    optional.refuse_batch(BARE, batch)


UP_TO_8 = backend(FIXED_BATCHES=range(1, 9))
ONE = backend(FIXED_BATCHES=range(1, 2))
SINGLY = backend(ONE_BY_ONE=True)


@pytest.mark.parametrize(("target", "batch"), [(UP_TO_8, 1), (UP_TO_8, 8), (ONE, 1), (SINGLY, None), (SINGLY, 1)])
def test_a_batch_within_the_bounds_is_made(target: Any, batch: int | None) -> None:
    optional.refuse_batch(target, batch)


@pytest.mark.parametrize(
    ("target", "batch", "told"),
    [
        (UP_TO_8, 0, "toy takes one fixed batch size, 1 to 8, found a batch of 0: give one with batch"),
        (UP_TO_8, 9, "toy takes one fixed batch size, 1 to 8, found a batch of 9: give one with batch"),
        (UP_TO_8, None, "toy takes one fixed batch size, 1 to 8, found a dynamic batch: give one with batch"),
        (ONE, 2, "toy takes one image at a time, found a batch of 2: give 1 with batch"),
        (ONE, None, "toy takes one image at a time, found a dynamic batch: give 1 with batch"),
        (SINGLY, 2, "toy has no batch axis: expected batch of 1, or none, .*; found 2"),
    ],
)
def test_a_batch_outside_them_is_refused_with_them(target: Any, batch: int | None, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        optional.refuse_batch(target, batch)


def test_what_a_backend_says_is_taken() -> None:
    asked = backend(
        unavailable_reason=lambda: "no GPU",
        precision_obstacle=lambda precision: f"no {precision}",
        substitute_runtime=lambda: "ours",
        harmless_settings=lambda settings: {k: v for k, v in settings.items() if k != "cache"},
        INSTALL="pip install toy",
        SUPPRESSES=True,
        WINOGRAD=True,
    )
    assert optional.unavailable_reason(asked) == "no GPU"
    assert optional.precision_obstacle(asked, "bf16") == "no bf16"
    assert optional.substitute_runtime(asked) == "ours"
    assert optional.harmless_settings(asked, {"cache": "/x", "threads": 1}) == {"threads": 1}
    assert optional.install_command(asked) == "pip install toy"
    assert optional.install_command(BARE) == 'pip install "slide-export[toy]"'
    assert optional.suppresses(asked)
    assert optional.convolves_by_winograd(asked)
