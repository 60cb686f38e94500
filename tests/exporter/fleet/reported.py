"""A database as a sweep leaves it: artifacts of a checkpoint, some that fail, their accuracies and sittings."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from slide_export.fleet.database import Database
from slide_export.fleet.job import Answer, Job

PAIRS = (
    # target, precision, MiB, points lost, milliseconds on two devices
    ("onnx", "fp32", 1.20, 0.0, (4.10, 30.0)),
    ("onnx", "int8", 0.35, 0.4, (2.60, 16.0)),
    ("onnx", "w8", 0.36, 0.1, (4.30, 31.0)),
    ("openvino", "fp32", 1.21, 0.0, (2.70, 33.0)),
    ("openvino", "fp16", 0.62, 0.0, (2.71, 33.5)),
    ("openvino", "int8", 0.37, 2.6, (1.30, 15.0)),
)
DEVICES = (("board=pi5", "pi5", "Cortex-A76"), ("gpu=1", "rack 3", "Xeon 6960P"))
IMAGES, LIMIT = 500, 1.0


def _job(stage: str, subject: str, needs: tuple[Job, ...] = (), **options: Any) -> Job:
    inputs = {"jobs": [one.key for one in needs]}
    keys = tuple(one.key for one in needs)
    return Job.of(
        stage,
        1,
        subject,
        {"slot": 1},
        options={**options, "subject": subject},
        inputs=inputs,
        environment={},
        needs=keys,
    )


def accuracy(lost: float) -> dict[str, Any]:
    top1 = 0.996 - lost / 100
    return {
        "images": IMAGES, "pytorch": {"top1": 0.996, "top5": 1.0}, "artifact": {"top1": top1, "top5": 1.0},
        "drop": lost, "interval": [lost - 0.5, lost + 0.6], "max_drop": LIMIT, "agreement": 1 - lost / 100,
        "sqnr_db": 48.0 - 8 * lost, "measured": None,
    }  # fmt: skip


class Made:
    """Jobs and how each ended."""

    def __init__(self) -> None:
        self.ends: list[tuple[Job, str, Answer]] = []

    def add(self, job: Job, state: str = "done", message: str = "", **told: Any) -> Job:
        outcome = {"poison": "died", "blocked": "cancelled"}.get(state, state)
        answer = Answer(outcome, 0 if state == "done" else 1, message, seconds=told.pop("seconds", 1.5), **told)  # type: ignore[arg-type]
        self.ends.append((job, state, answer))
        return job

    def artifacts(self, checkpoint: str, noise: random.Random) -> Iterator[tuple[Job, tuple[Any, ...]]]:
        prepared = self.add(_job("prepare", checkpoint), seconds=9.0)
        for pair in PAIRS:
            target, precision, size, lost, _ = pair
            subject = f"{checkpoint} {target} {precision}"
            size += noise.random() / 100
            export = self.add(
                _job("export", subject, (prepared,), target=target, export={"precision": precision}),
                output=(subject.encode().hex() * 8)[:64], kind="bundle", measures={"size_mib": (size, None, None)},
            )  # fmt: skip
            self.add(_job("verify", subject, (export,)))
            shards = tuple(self.add(_job("evaluate", f"{subject} {n} of 2", (export, prepared))) for n in (1, 2))
            said = "" if lost <= LIMIT else f"expected a drop of at most {LIMIT:g} points, found {lost:g}"
            self.add(_job("merge", subject, shards), "refused" if said else "done", said, result=accuracy(lost))
            yield export, pair

    def sittings(self, checkpoint: str, exports: list[tuple[Job, tuple[Any, ...]]]) -> None:
        for number, (label, device, cpu) in enumerate(DEVICES):
            times = {
                f"p50_ms {job.key}": (pair[4][number], 0.99 * pair[4][number], 1.01 * pair[4][number])
                for job, pair in exports
            }
            warnings = ["another process took a third of the processor"] if number else []
            told = {"result": {"environment": {"device": device, "cpu": cpu, "warnings": warnings}}}
            bench = _job("bench", f"{checkpoint} {label}", tuple(job for job, _ in exports), on=label)
            self.add(bench, measures=times, result=told)


def write(path: Path) -> None:
    """Two checkpoints of six artifacts; a poison job, two refusals alike, what they block, and a finding."""
    made, noise = Made(), random.Random(0)
    for checkpoint in ("digits", "flowers <b>&"):
        made.sittings(checkpoint, list(made.artifacts(checkpoint, noise)))
    prepared = made.ends[0][0]
    for layer in (3, 11):
        export = _job(
            "export", f"digits coreml layer{layer}", (prepared,), target="coreml", export={"precision": "fp16"}
        )
        made.add(export, "refused", f"expected parity, found an error of 0.{layer} in layer {layer}")
        made.add(_job("verify", f"digits coreml layer{layer}", (export,)), "blocked", "what it needs was refused")
    killer = _job("export", "digits tensorrt int8", (prepared,), target="tensorrt", export={"precision": "int8"})
    made.add(killer, "poison", "each worker that ran it died: rack-1, rack-2, rack-1; signal 9: Out of memory")
    twice = made.ends[3][2]
    made.ends[3] = (*made.ends[3][:2], Answer(**{**vars(twice), "differs": ("output",)}))
    with Database.claimed(path) as database:
        plan = database.add_plan("checkpoints: [digits.pth]", "0" * 64)
        database.add_jobs(plan, [job for job, *_ in made.ends])
        for job, state, answer in made.ends:
            workers = ("rack-1", "rack-2", "rack-1") if state == "poison" else ("rack-1",)
            for worker in workers if state != "blocked" else ():
                (number,) = database.begin([job.key])
                told = Answer(**{**vars(answer), "worker": worker})
                with database.transaction() as db:
                    database.end(db, [(number, answer.outcome, worker, told)])  # type: ignore[list-item]
            with database.transaction() as db:
                database.settle(db, [(job.key, state, answer)])  # type: ignore[list-item]
