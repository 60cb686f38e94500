"""What a fleet makes of real work: shards beside one process, a job beside its child, and resuming from S3.

    python -m tests.benchmarks.fleet_work shards      # evaluation of an int8 artifact of the digits, 1 process and 2
    python -m tests.benchmarks.fleet_work jobs        # what a sweep adds to the child of an export of `--target all`
    python -m tests.benchmarks.fleet_work s3          # a finished sweep of 10,000 jobs, found in a bucket

The machine has to be quiet for the first two.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from slide_export.fleet import cas, clusters, simulated
from slide_export.fleet import sweep as sweeps
from slide_export.fleet.database import Database
from slide_export.fleet.engine import Engine, InlineEngine
from slide_export.fleet.job import Answer, Ended, Submission
from slide_export.fleet.sweep import SweepOptions
from slide_export.workflows import all_targets
from slide_export.workflows.child import EXPORT, Nursery
from slide_export.workflows.options import request_of
from tests.exporter.fleet.sweeps import sweep
from tests.s3_server import BUCKET, serving

DIGITS = Path(__file__).parents[2] / "deploy_examples/00_digits"
COPIES = 8  # of 500 images
PLAN = """schema: slide-export/plan/1
checkpoints: [{checkpoint}]
targets: [onnx]
precisions: [{precisions}]
verify: []
"""
COMMAND = (sys.executable, "-m", "slide_export")
CHECKPOINTS = 303  # of 33 jobs
ROUNDS, TIMEOUT_S = 4, 900.0

Found = TypeVar("Found")


def shards(room: Path) -> None:
    """Wall and processor seconds of one evaluation by one command, and the span of the same shards in a sweep.

    `verify` has its artifact in a process of its own, beside the trained model: with one process both cores have work.
    """
    images = room / "images"
    for copy in range(COPIES):
        for file in (DIGITS / "heldout").rglob("*.png"):
            place = images / file.parent.name / f"{copy}-{file.name}"
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(file)
    export = [*COMMAND, str(DIGITS / "digits.pth"), "--target", "onnx", "--precision", "w8", "--out", str(room)]
    subprocess.run(export, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (bundle,) = (path.parent for path in room.glob("*/manifest.json"))
    print("| processes | threads of each | wall s | CPU s |\n| --- | --- | --- | --- |")
    for processes, threads in ((1, 1), (2, 1), (1, 2)):
        command = [*COMMAND, "verify", str(bundle), "--against", str(DIGITS / "digits.pth"), "--eval", str(images)]
        wall_s, cpu_s = _timed([*command, "--jobs", str(processes)], OMP_NUM_THREADS=str(threads))
        print(f"| {processes} | {threads} | {wall_s:.1f} | {cpu_s:.1f} |", flush=True)
    spans = [_span(room / f"sweep{workers}", images, workers) for workers in (1, 2)]
    print(f"a sweep's shards: {spans[0]:.1f} s by one worker, {spans[1]:.1f} s by two: {spans[0] / spans[1]:.2f} times")


def _span(place: Path, images: Path, workers: int) -> float:
    """Seconds from the first shard's begin to the last one's end, of one artifact that is there already."""
    place.mkdir()
    plan, command = place / "plan.yaml", [*COMMAND, "sweep", str(place / "plan.yaml"), "--workers", str(workers)]
    text = PLAN.format(checkpoint=DIGITS / "digits.pth", precisions="w8")
    plan.write_text(text)
    _timed(command, OMP_NUM_THREADS="1")
    plan.write_text(f"{text}evaluate: {{images: {images}, shard_images: 480}}\n")
    _timed([*command, "--resume"], OMP_NUM_THREADS="1")
    with Database.read_only(place / "fleet.db") as database:
        ((begin, end),) = database.rows(
            "SELECT min(submitted), max(ended) FROM attempt JOIN job ON key = job "
            "WHERE stage IN ('reference', 'evaluate')"
        )
    return float(str(end)) - float(str(begin))


def jobs(room: Path) -> None:
    """Exports by a sweep's only worker and by the child of `--target all`, in turns: one of them at a time."""
    prepared, plan = room / "prepared", room / "plan.yaml"
    prepared.mkdir()
    checkpoint = request_of(DIGITS / "digits.pth", "onnx", {"out": room / "out"})
    with Nursery(EXPORT, {"OMP_NUM_THREADS": "1"}) as nursery, clusters.embedded(1) as engine:
        order = {"request": all_targets.plain(checkpoint), "prepared": str(prepared), "threads": 1}
        nursery.run(f"{all_targets.HERE}:prepare_one", order, TIMEOUT_S)
        turns = InTurns(engine, nursery, prepared)
        for number in range(ROUNDS):
            text = PLAN.format(checkpoint=DIGITS / "digits.pth", precisions="fp32, fp16, w8")
            plan.write_text(f"{text}pins: {{onnx: round {number}}}\n")  # of the exports alone: they are made anew
            sweeps.run(plan, lambda _made: nullcontext(turns), SweepOptions(resume=True))
    for name, own_ms in (("its own child", turns.over_own), ("the child of --target all", turns.over_other)):
        print(
            f"{len(own_ms)} exports take {min(own_ms):.0f} to {max(own_ms):.0f} ms more than {name}, "
            f"median {median(own_ms):.0f}"
        )


class InTurns:
    """An engine that exports by the child of `--target all` before it hands the same export on.

    Attributes:
        over_own, over_other: milliseconds that each export took more than its child, and than that one: from one end to
            the next, what the client writes down of it included.
    """

    def __init__(self, engine: Engine, nursery: Nursery, prepared: Path) -> None:
        self._engine, self._nursery, self._prepared = engine, nursery, prepared
        self._came = self._handed = self._writing_s = self._other_s = 0.0
        self.over_own: list[float] = []
        self.over_other: list[float] = []
        self.capacity, self.stop, self.close = engine.capacity, engine.stop, engine.close

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Run the other way of an export first."""
        for one in submissions:  # at most one: there is one slot
            self._writing_s = time.perf_counter() - self._came
            options = json.loads(one.order)["spec"]["options"]
            self._other_s = self._other(options) if "export" in options else 0.0
            self._handed = time.perf_counter()
        self._engine.submit(submissions)

    def next_batch(self, timeout_s: float) -> list[Ended]:
        """Note how long an export took."""
        ended = self._engine.next_batch(timeout_s)
        for one in ended:
            assert one.answer is not None
            whole_s = time.perf_counter() - self._handed + self._writing_s
            if self._other_s and self._came:
                self.over_own.append(1000 * (whole_s - one.answer["seconds"]))
                self.over_other.append(1000 * (whole_s - self._other_s))
        if ended:
            self._came = time.perf_counter()
        return ended

    def _other(self, options: dict[str, Any]) -> float:
        with tempfile.TemporaryDirectory(prefix="slide-export-fleet-") as out:
            request = request_of(DIGITS / "digits.pth", options["target"], {**options["export"], "out": Path(out)})
            order = {"request": all_targets.plain(request), "prepared": str(self._prepared), "jobs": 1}
            end = self._nursery.run(f"{all_targets.HERE}:finish_one", order, TIMEOUT_S)
        assert end.result is not None
        assert "error" not in end.result, end.result["error"]
        return end.seconds


def s3(room: Path) -> None:
    """A finished sweep whose answers are in a bucket, for a client that has never seen them and one that has."""
    with serving():
        store = cas.open(f"s3://{BUCKET}/fleet")
        answer = Answer("done", result={"number": 1}).plain()
        told = {name: value for name, value in answer.items() if name not in ("worker", "ours", "differs", "peak_mib")}
        planned = list(simulated.jobs(CHECKPOINTS))
        filled, _ = _seconds(lambda: [store.commit(job.key, told) for job in planned])
        listed, keys = _seconds(store.keys)
        path = room / "fleet.db"
        first, end = _seconds(lambda: sweep(path, planned, InlineEngine(), store.url))
        again, _ = _seconds(lambda: sweep(path, planned, InlineEngine(), store.url))
    print(f"{len(keys)} answers written in {filled:.1f} s, listed in {listed:.2f} s; states {dict(end.states)}")
    print(f"a new client takes {first:.1f} s, which reads every answer; the one that has them {again:.1f} s")


def _seconds(do: Callable[[], Found]) -> tuple[float, Found]:
    start = time.perf_counter()
    found = do()
    return time.perf_counter() - start, found


def _timed(command: list[str], **variables: str) -> tuple[float, float]:
    """Wall and processor seconds of a command with all its processes."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **variables}
    )
    wall_s, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(words: list[str]) -> None:
    """Measure what is named."""
    for word in words:
        with tempfile.TemporaryDirectory(prefix="slide-export-fleet-") as room:
            {"shards": shards, "jobs": jobs, "s3": s3}[word](Path(room))


if __name__ == "__main__":
    main(sys.argv[1:])
