"""What a job's own process answers: what its stage gives, a refusal with its exit code, or a crash that is left."""

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from slide_export.core.errors import CRASHED, UNWRITABLE, BundleError
from slide_export.fleet import child, stages
from slide_export.fleet.stages import Stage

HERE = "tests.exporter.fleet.test_child"


def gives(order: dict[str, Any]) -> dict[str, Any]:
    return {"exit_code": 0, "read": Path("in/a.txt").read_text(), "here": str(Path.cwd())}


def refuses(_order: dict[str, Any]) -> dict[str, Any]:
    raise BundleError("expected a bundle")


def starves(_order: dict[str, Any]) -> dict[str, Any]:
    raise MemoryError


def starves_in_a_library(_order: dict[str, Any]) -> dict[str, Any]:
    try:
        raise RuntimeError("Check 'ptr' failed at src/cpu_memory.cpp:257: Failed to allocate 14450688 bytes of memory")
    except RuntimeError as error:
        raise BundleError("expected inputs that the artifact takes") from error


def fills(_order: dict[str, Any]) -> dict[str, Any]:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fails(_order: dict[str, Any]) -> dict[str, Any]:
    raise ZeroDivisionError


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(child, "limit", lambda _memory_gib: None)  # of a process that ends with its job
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.txt").write_text("kept")
    (tmp_path / "place").mkdir()
    links = {"in/a.txt": str(tmp_path / "kept.txt")}
    return {"stage": "told", "memory_gib": 2.5, "place": str(tmp_path / "place"), "links": links}


def performed(order: dict[str, Any], function: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(stages.STAGES, "told", Stage(1, f"{HERE}:{function}"))
    return child.perform(order)


def test_a_stage_runs_in_its_place_with_its_inputs(order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert performed(order, "gives", monkeypatch) == {"exit_code": 0, "read": "kept", "here": order["place"]}


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        ("refuses", BundleError.exit_code, "expected a bundle"),
        ("starves", CRASHED, "it needs more memory than the 2.5 GiB it has: say more in the plan's needs, told: {mem"),
        ("starves_in_a_library", CRASHED, "it needs more memory than the 2.5 GiB it has"),
        ("fills", UNWRITABLE, "No space left"),
    ],
)
def test_a_refusal_is_an_answer(
    function: str, code: int, words: str, order: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = performed(order, function, monkeypatch)
    assert (found["exit_code"], words in found["message"]) == (code, True)


def test_without_a_limit_a_library_has_its_own_words(order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = performed({**order, "memory_gib": 0.0}, "starves_in_a_library", monkeypatch)
    assert found == {"exit_code": BundleError.exit_code, "message": "expected inputs that the artifact takes"}


def test_a_fault_of_ours_ends_the_process(order: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        performed(order, "fails", monkeypatch)


LIMITED = """
import resource, sys
from slide_export.fleet.child import limit
limit(float(sys.argv[1]))
print(resource.getrlimit(resource.RLIMIT_DATA)[0], open("/proc/self/oom_score_adj").read().strip())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of the Linux kernel")
@pytest.mark.parametrize(("memory_gib", "gib"), [(0.5, 1.5), (2.0, 3.0), (0.0, None)])
def test_memory_is_bounded_by_what_was_asked_for_and_frameworks(memory_gib: float, gib: float | None) -> None:
    done = subprocess.run((sys.executable, "-c", LIMITED, str(memory_gib)), capture_output=True, text=True, check=True)
    most, first = map(int, done.stdout.split())
    unbounded = resource.getrlimit(resource.RLIMIT_DATA)[0]
    assert most == (unbounded if gib is None else int(gib * (1 << 30)))
    assert first == 500
