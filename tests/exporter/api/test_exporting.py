"""What the verbs that make bundles hand on: the target, options like a bundle's, processes and a limit of time."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.api import exporting
from slide_export.core.errors import RequestError
from slide_export.core.progress import no_progress
from slide_export.workflows import all_targets, demo, like
from slide_export.workflows import export as workflow

CHECKPOINT = "small.pth"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What each workflow was called with; nothing is made."""
    calls: list[tuple[Any, ...]] = []
    for module, name in (
        (workflow, "export"),
        (all_targets, "export_within"),
        (all_targets, "export_all"),
        (demo, "run_demo"),
    ):
        monkeypatch.setattr(module, name, lambda *given, name=name: calls.append((name, *given)))
    taken = {"batch": 2}
    monkeypatch.setattr(like, "options_like", lambda _like, target, given: (target or "openvino", {**taken, **given}))
    return calls


def test_one_artifact_is_for_onnx_where_nobody_says(asked: list[tuple[Any, ...]]) -> None:
    exporting.export(CHECKPOINT, jobs=3, batch=1)
    ((name, request, step, jobs),) = asked
    assert (name, step, jobs) == ("export", no_progress, 3)
    assert (request.checkpoint, request.target, request.interface.batch) == (Path(CHECKPOINT), "onnx", 1)


@pytest.mark.parametrize(("target", "expected"), [(None, "openvino"), ("coreml", "coreml")])
def test_one_like_a_bundle_is_for_its_target_unless_told(
    target: str | None, expected: str, asked: list[tuple[Any, ...]]
) -> None:
    exporting.export(CHECKPOINT, target, like="bundle", precision="fp16")
    request = asked[0][1]
    assert (request.target, request.precision, request.interface.batch) == (expected, "fp16", 2)


def test_a_limit_of_time_needs_other_processes(asked: list[tuple[Any, ...]]) -> None:
    exporting.export(CHECKPOINT, timeout_s=0.5, jobs=2)
    ((name, _request, timeout_s, jobs, step),) = asked
    assert (name, timeout_s, jobs, step) == ("export_within", 0.5, 2, no_progress)


@pytest.mark.parametrize("jobs", [0, -1])
def test_no_process_makes_nothing(jobs: int, asked: list[tuple[Any, ...]]) -> None:
    with pytest.raises(RequestError, match=f"expected at least 1 process for jobs, found {jobs}"):
        exporting.export(CHECKPOINT, jobs=jobs)
    assert asked == []


@pytest.mark.parametrize(
    ("targets", "expected"), [(None, None), ([], None), (["onnx", "openvino"], ["onnx", "openvino"])]
)
def test_all_targets_are_those_named_or_those_installed(
    targets: list[str] | None, expected: list[str] | None, asked: list[tuple[Any, ...]]
) -> None:
    exporting.export_all(CHECKPOINT, targets, like="bundle", timeout_s=5.0, jobs=4)
    ((name, request, *rest),) = asked
    assert (name, request.target, request.interface.batch) == ("export_all", "all", 2)
    assert rest == [expected, 5.0, 4, no_progress]


def test_an_option_that_there_is_not_is_refused_before_anything_is_read(asked: list[tuple[Any, ...]]) -> None:
    for verb in (exporting.export, exporting.export_all):
        with pytest.raises(RequestError, match="did you mean precision"):
            verb(CHECKPOINT, precison="int8")  # type: ignore[operator]
    assert asked == []


def test_the_demo_is_written_where_it_is_told(asked: list[tuple[Any, ...]], tmp_path: Path) -> None:
    exporting.demo()
    exporting.demo(str(tmp_path))
    assert asked == [("run_demo", Path("exported"), no_progress), ("run_demo", tmp_path, no_progress)]
