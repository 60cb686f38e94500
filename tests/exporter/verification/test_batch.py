"""Each bundle has its own outcome, whatever becomes of the others."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from slide_export.bundle import store
from slide_export.cli.console import show_outcomes
from slide_export.core.errors import BackendUnavailable, BundleError, option
from slide_export.core.request import AccuracyGoal
from slide_export.verification import bundle as verification
from slide_export.verification.apart import Runners
from slide_export.verification.batch import VerifyOptions, prove_each
from slide_export.verification.outcome import VerifyResult, as_plain


def test_one_that_fails_does_not_stop_the_others(outcomes: tuple[VerifyResult, ...]) -> None:
    assert [(one.exit_code, one.kind) for one in outcomes] == [(1, "ParityError"), (2, "BundleError"), (0, "")]
    assert [one.target for one in outcomes] == ["onnx", "", "onnx"]
    assert all(one.seconds > 0 for one in outcomes)


def test_a_failed_proof_keeps_its_numbers(outcomes: tuple[VerifyResult, ...]) -> None:
    altered, _, small = outcomes
    assert altered.tightest is not None
    assert small.tightest is not None
    assert altered.tightest.max_abs > 100 * altered.tightest.limit_max
    assert small.tightest.max_abs < small.tightest.limit_max


def test_the_reference_is_derived_from_the_checkpoint(exported: Path, checkpoint: Path) -> None:
    altered, small = prove_each([exported / "altered", exported / "small"], VerifyOptions(checkpoint))
    assert (altered.exit_code, small.exit_code) == (1, 0)


def test_accuracy_is_measured_where_it_is_asked_for_and_everything_is_opened_once(
    exported: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: Counter[str] = Counter()

    def counted(module: object, name: str) -> None:
        real = getattr(module, name)

        def call(*given: object, **named: object) -> object:
            opened[name] += 1
            return real(*given, **named)

        monkeypatch.setattr(module, name, call)

    counted(store, "read")
    counted(Runners, "opened")
    counted(verification, "load_checkpoint")
    photographs = Path(verification.__file__).parents[2] / "calibration" / "photos"
    (found,) = prove_each([exported / "small"], VerifyOptions(checkpoint, AccuracyGoal(photographs)))
    assert found.accuracy is not None
    assert found.accuracy.passed
    assert opened == {"read": 1, "opened": 1, "load_checkpoint": 1}


@pytest.mark.parametrize(
    ("error", "expected"),
    [(BackendUnavailable("no runtime"), (3, "not available here")), (OSError("disk"), (70, "not proved"))],
)
def test_what_goes_wrong_with_a_bundle_is_its_outcome(
    monkeypatch: pytest.MonkeyPatch, error: Exception, expected: tuple[int, str]
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(verification, "open_bundle", broken)
    (found,) = prove_each([Path("x")])
    assert (found.exit_code, found.verdict) == expected
    assert str(error) in found.message


def test_each_bundle_of_many_is_a_step_that_fails_with_it(exported: Path) -> None:
    told = []

    @contextmanager
    def step(what: str) -> Iterator[None]:
        try:
            yield
        except BaseException:
            told.append(f"failed {what}")
            raise
        told.append(what)

    prove_each([exported / "absent", exported / "small"], step=step)
    assert told == [f"failed verify {exported / 'absent'}", f"verify {exported / 'small'}"]


@pytest.mark.parametrize(("least_db", "passed"), [(60.0, True), (600.0, False)])
def test_a_reviewer_may_ask_for_more_than_the_bundle_does(least_db: float, passed: bool, exported: Path) -> None:
    (found,) = prove_each([exported / "small"], VerifyOptions(least_db=least_db))
    assert found.passed is passed
    assert found.passed or found.message.startswith("expected a signal to noise of 600 dB in logits, found 1")


def test_an_option_is_written_as_its_caller_knows_it(
    exported: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise BundleError(f"expected {option('keep_fp32')}")

    monkeypatch.setattr(verification, "prove", refuse)
    (found,) = prove_each([exported / "small"])
    assert (found.message, found.sentence) == ("expected keep_fp32", "expected --keep-fp32")
    assert as_plain([found])["bundles"][0]["message"] == found.sentence
    show_outcomes([found])
    assert "expected --keep-fp32" in capsys.readouterr().err
