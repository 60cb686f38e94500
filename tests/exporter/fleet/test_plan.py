"""A plan is read whole, and what it does not know is refused by the nearest name."""

from pathlib import Path

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import plan

LEAST = "schema: slide-export/plan/1\ncheckpoints: a.pth\ntargets: [onnx]\n"


def test_the_study_s_plan_is_read() -> None:
    found = plan.parse(
        """
schema: slide-export/plan/1
store: s3://team-models/fleet
checkpoints: [runs/*/best.pth, {path: s3://ckpt/a.pth, variant: slide_swin_tiny}]
targets: [onnx, openvino]
precisions: [fp32, w8]
options: {form: [auto, shifts]}
exclude: [{target: openvino, precision: w8}]
images: calib/
evaluate: {images: imagenet/val, shard_images: 1920, max_drop: 1.0}
bench: [{on: {board: pi5}, rounds: 20}]
needs: {export: {memory_gib: 4}}
limits: {timeout_s: 90, deaths: 3, crashes: 2, in_flight: 256}
""",
        "plan.yaml",
    )
    assert found.checkpoints[1] == plan.Checkpoints("s3://ckpt/a.pth", {"variant": "slide_swin_tiny"})
    assert found.options == {"form": ("auto", "shifts")}
    assert found.bench[0].on == {"board": "pi5"}  # YAML 1.1 reads `on` as true
    assert found.bench[0].rounds == 20
    assert found.evaluate == plan.EvaluatePart("imagenet/val", 1920, 1.0)
    assert found.needs["export"].memory_gib == 4.0
    assert found.limits.timeout_s == 90.0


def test_short_forms_are_the_long_ones() -> None:
    short = plan.parse(f"{LEAST}options: {{form: auto}}\n", "p")
    long = plan.parse(
        "schema: slide-export/plan/1\ncheckpoints: [{path: a.pth}]\ntargets: [onnx]\noptions: {form: [auto]}\n", "p"
    )
    assert short == long


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("precision: fp16", "expected a field of a plan, found 'precision': did you mean precisions?"),
        ("limits: {timeout: 3}", "expected a field of limits, found 'timeout': did you mean timeout_s?"),
        ("bench: [{rond: 3}]", "expected a field of bench[0], found 'rond': did you mean rounds?"),
        ("limits: {deaths: 0}", "expected limits.deaths to be"),
        ("limits: {timeout_s: 0}", "expected limits.timeout_s to be at least 1, found 0"),
        ("needs: {export: {slot: 0}}", "expected needs.export.slot to be at least 1, found 0"),
        ("bench: [{on: {gpu: 0}}]", "expected what a worker offers, gpu: 1 or board: pi5, in on, found 'gpu: 0"),
        ("verify: [{on: {'': pi5}}]", "in on, found ': pi5'"),
        ("needs: {exprot: {slot: 2}}", "expected a stage in needs, found 'exprot': did you mean export?"),
        ("bench: [{targets: [onyx]}]", "expected a target of the plan in bench, found 'onyx': did you mean onnx?"),
        ("bench: [{precisions: [w8]}]", "expected a precision of the plan in bench, found 'w8': there are fp32"),
        ("verify: [{targets: [coreml]}]", "expected a target of the plan in verify, found 'coreml': there are onnx"),
        ("evaluate: {images: a, shard_images: 100}", "a multiple of 48, the images of a chunk, found 100"),
        ("precisions: []", "expected at least one entry in precisions, found none"),
        ("targets: [onnx]", "expected every field once in p, found 'targets' 2 times"),
    ],
)
def test_what_a_plan_does_not_know_is_refused(text: str, words: str) -> None:
    with pytest.raises(RequestError) as refused:
        plan.parse(f"{LEAST}{text}\n", "p")
    assert words in str(refused.value)


def test_another_schema_is_refused() -> None:
    with pytest.raises(RequestError, match='expected schema to be "slide-export/plan/1", found "slide-export/plan/2"'):
        plan.parse(LEAST.replace("plan/1", "plan/2"), "p")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="expected the plan of a sweep"):
        plan.read(tmp_path / "plan.yaml")
