"""The fingerprint is the system's own, and doubts are said where there is reason for them."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from slide_export.benchmark import environment
from slide_export.core.measurement import Environment

CALM = Environment("here", "cpu", (), 4, 1024, "performance", "Linux", "3.11", {}, 0.1)


def said(machine: Environment, threads: int = 2, quota: float | None = None, virtual: bool = False) -> str:
    return " ".join(environment.doubts(machine, threads, quota, virtual=virtual))


def test_a_calm_machine_raises_no_doubt() -> None:
    assert said(CALM) == ""


@pytest.mark.parametrize(
    ("machine", "options", "expected"),
    [
        (replace(CALM, load_average=1.3), {}, "load average was 1.3"),
        (replace(CALM, governor="powersave"), {}, "governor is powersave"),
        (CALM, {"threads": 5}, "5 threads share 4 processors"),
        (CALM, {"quota": 1.5}, "the container may use 1.5 processors, 2 threads"),
        (CALM, {"virtual": True}, "virtual machine"),
    ],
)
def test_each_doubt_is_a_sentence(machine: Environment, options: dict[str, float], expected: str) -> None:
    assert expected in said(machine, **options)  # type: ignore[arg-type]


def test_the_fingerprint_names_machine_and_versions() -> None:
    found = environment.fingerprint("lab", 1, ["onnx"])
    assert found.device == "lab"
    assert found.cpu
    assert found.cores == len(environment.usable())
    assert found.memory_mib == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    assert found.versions["numpy"] == np.__version__
    assert {"onnx", "onnxruntime"} <= found.versions.keys()


def test_processors_are_one_of_each_core_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cpu, core in enumerate(["0-1", "0-1", "2-3", "2-3"]):
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / "thread_siblings_list").write_text(core + "\n")
    monkeypatch.setattr(environment, "CPUS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda _pid, _cpus: None, raising=False)
    assert environment.usable() == (0, 2, 1, 3)
    assert environment.affinity(2) == (0, 2)


def test_an_arm_board_is_named_by_its_device_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "/proc/cpuinfo": "processor : 0\nFeatures : fp asimd asimddp\nCPU part : 0xd0b\n",
        "/proc/device-tree/model": "Raspberry Pi 5\0",
    }
    monkeypatch.setattr(environment, "_text", lambda path: files.get(str(path), ""))
    found = environment.fingerprint("board", 1, [])
    assert (found.cpu, found.flags) == ("Raspberry Pi 5", ("asimd", "asimddp"))


def test_stolen_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    stolen = iter([0, 3600 * ticks * (os.cpu_count() or 1)])
    monkeypatch.setattr(environment, "_text", lambda _path: f"cpu 1 2 3 4 5 6 7 {next(stolen)} 0 0\ncpu0 1")
    watch = replace(environment.StealTime.begin(), began_s=environment.time.monotonic() - 36000)
    assert watch.doubts() == ("the host took 10% of the processors' time away meanwhile",)
