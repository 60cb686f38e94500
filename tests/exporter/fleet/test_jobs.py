"""The jobs of a plan: what its pins change the keys of, and which bundles sit together."""

from collections import defaultdict
from typing import Any

from slide_export.fleet import plan
from slide_export.fleet.axes import Cell
from slide_export.fleet.job import Job
from slide_export.fleet.jobs import ALL, Planner
from slide_export.fleet.sources import Source

LEAST = "schema: slide-export/plan/1\ncheckpoints: [a.pth, b.pth]\ntargets: [onnx, openvino]\n"


def jobs(more: str) -> dict[str, list[Job]]:
    """Jobs by stage of two checkpoints for two targets, with more lines in the plan."""
    read = plan.parse(LEAST + more, "plan.yaml")
    options: dict[str, Any] = {"precision": "fp32"}
    cells = [
        Cell(name, Source(name * 64, f"{name}.pth"), target, {**options, "name": name})
        for name in "ab"
        for target in read.targets
    ]
    found = defaultdict(list)
    for job in Planner(read, None).jobs(cells):
        found[job.stage].append(job)
    return found


def keys(found: dict[str, list[Job]], stage: str, target: str = "") -> set[str]:
    return {job.key for job in found[stage] if target in job.subject}


def test_a_pin_of_a_target_changes_its_artifacts_alone() -> None:
    before = jobs("pins: {onnx: '1', openvino: '1'}\n")
    after = jobs("pins: {onnx: '1', openvino: '2'}\n")
    assert keys(before, "prepare") == keys(after, "prepare") == keys(jobs(""), "prepare")
    assert keys(before, "export", "onnx") == keys(after, "export", "onnx")
    assert not keys(before, "export", "openvino") & keys(after, "export", "openvino")
    assert not keys(before, "verify", "openvino") & keys(after, "verify", "openvino")


def test_any_other_pin_changes_all() -> None:
    before, after = jobs("pins: {family: '1'}\n"), jobs("pins: {family: '2'}\n")
    for stage in ("prepare", "export"):
        assert not keys(before, stage) & keys(after, stage)


def test_a_sitting_is_of_one_checkpoint_or_of_all() -> None:
    apart, together = jobs("bench: [{}]\n"), jobs("bench: [{together: true, targets: [onnx]}]\n")
    assert [(job.subject, len(job.needs)) for job in apart["bench"]] == [("a", 2), ("b", 2)]
    assert [(job.subject, len(job.needs)) for job in together["bench"]] == [(ALL, 2)]
    assert set(together["bench"][0].needs) == keys(together, "export", "onnx")
