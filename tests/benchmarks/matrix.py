"""`make matrix`: every variant at its full size, to every target, proved and timed. Hours; a finished row is kept.

    make matrix                                              everything that is not done yet
    make matrix VARIANTS="nat_tiny slide_nat_tiny" TARGETS=onnx PRECISIONS=fp32
    make matrix LATENCY=no                                   proofs alone: then the machine need not be quiet

A model and the one with slide attention that replaces it are a sweep of their own, whose plan stands in build/matrix
until its rows are finished; what was killed goes on where it ended. They are measured in one sitting, so their ratio
means something. A plan pins the versions, and the code of family and backends: an edit elsewhere redoes nothing. Rows
stand in matrix.jsonl beside this file (delete it to begin anew); from them come MATRIX.md and models/proved.json.
"""

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import yaml

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.fleet import sweep as sweeps
from slide_export.fleet.engine import InlineEngine
from slide_export.models import family_of, variants
from slide_export.tasks import TASKS
from tests.benchmarks.export_cost import save_random
from tests.benchmarks.machine import machine
from tests.benchmarks.matrix_rows import Row

from . import matrix_code, matrix_rows, matrix_sweep

ROOT = Path(__file__).parents[2]
ROOM = ROOT / "build" / "matrix"
ROWS = Path(__file__).with_name("matrix.jsonl")
TABLE = Path(__file__).with_name("MATRIX.md")
PROVED = ROOT / "models/proved.json"
NO_CODE = tuple(f":!{file.relative_to(ROOT)}" for file in (ROWS, TABLE, PROVED))
PRECISIONS = ("fp32", "fp16", "w16")  # of these, what a target has
IMAGES = {"classify_views": 8}  # of a model with few outputs: the noise of two images of it is chance
LEAST_IMAGES = 2
TIMEOUT_S = 3600.0
MEMORY_GIB = 12.0
COUPLED = "boat_cswin"  # each two images of a batch attend to each other
SLIDE = "slide_"  # what the name of a model has before that of the one it replaces


def main(arguments: Sequence[str]) -> int:
    """Runs what is asked for and not done; returns 0 if every row of it was proved."""
    asked = _parse(arguments)
    timed = [target for target in asked.targets if asked.latency == "yes" and can_be_timed(target)]
    for group in groups(asked.variants):
        done = {row.key for row in matrix_rows.read(ROWS) if _is_done(row, timed)}
        cells = [(target, precision) for target in asked.targets for precision in had(target, asked.precisions)]
        left = [cell for cell in cells if not all((variant, *cell) in done for variant in group)]
        if left:
            rows = run_group(group, left, timed)
            matrix_rows.append(ROWS, [replace(row, commit=_commit()) for row in rows])
            _write()
    keys = {(v, t, p) for v in asked.variants for t in asked.targets for p in had(t, asked.precisions)}
    proved = {row.key for row in matrix_rows.read(ROWS) if row.exit_code == 0}
    _write()
    return 0 if keys <= proved else 1


def _is_done(row: Row, timed: Sequence[str]) -> bool:
    """Whether a row is finished, with its latency where that is asked for, and of the code that is here."""
    here = row.code in ("", matrix_code.code_of(row.variant, row.target))
    return row.finished and here and (row.timed or row.target not in timed)


def had(target: str, precisions: Sequence[str]) -> tuple[str, ...]:
    """Those of the precisions that a target has."""
    return tuple(precision for precision in precisions if precision in backends.load(target).PRECISIONS)


def _commit() -> str:
    """The commit of this code, marked where anything but these results was changed since."""

    def git(*arguments: str) -> str:
        return subprocess.run(("git", *arguments), cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *NO_CODE)
    return git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")


def groups(names: Sequence[str]) -> list[tuple[str, ...]]:
    """The names in their order, each model together with the one that replaces its attention."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(name.removeprefix(SLIDE), []).append(name)
    return [tuple(sorted(group, key=lambda name: name.startswith(SLIDE))) for group in found.values()]


def run_group(group: Sequence[str], cells: Sequence[tuple[str, str]], timed: Sequence[str]) -> list[Row]:
    """The rows of models that are measured together; once all are finished, nothing of them stays on the disk.

    Args:
        cells: targets with precisions.
        timed: targets that are measured.
    """
    print(f"{' '.join(group)}: {', '.join(' '.join(cell) for cell in cells)}", file=sys.stderr, flush=True)
    room = ROOM / group[0]
    room.mkdir(parents=True, exist_ok=True)
    for variant in group:
        if not (room / f"{variant}.pth").exists():
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # gives the memory of the weights back
                pool.apply(save_whole, (variant, room))
    (room / "plan.yaml").write_text(yaml.safe_dump(plan_of(group, cells, timed), sort_keys=False))
    options = sweeps.SweepOptions(resume=True, retry=("failed", "poison"))
    sweeps.run(room / "plan.yaml", lambda _: closing(InlineEngine(1)), options)
    rows = [
        replace(row, code=matrix_code.code_of(row.variant, row.target))
        for row in matrix_sweep.rows(room / "fleet.db", room / "fleet")
    ]
    if all(row.finished for row in rows):
        shutil.rmtree(room)
    return rows


def save_whole(variant: str, folder: Path) -> None:
    """Writes a checkpoint of random weights that stands there whole or not at all."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    save_random(variant, scratch).rename(folder / f"{variant}.pth")


def plan_of(group: Sequence[str], cells: Sequence[tuple[str, str]], timed: Sequence[str]) -> dict[str, object]:
    """The plan of models that are measured together."""
    targets = list(dict.fromkeys(target for target, _ in cells))
    precisions = list(dict.fromkeys(precision for _, precision in cells))
    batches = {target: batch_of(group, target) for target in targets}
    left_out: list[dict[str, object]] = [
        {"target": target, "precision": precision}
        for target in targets
        for precision in precisions
        if (target, precision) not in cells or precision not in backends.load(target).PRECISIONS
    ]
    left_out += [
        {"target": target, "batch": batch}
        for target in targets
        for batch in dict.fromkeys(batches.values())
        if batch != batches[target]
    ]
    return {
        "schema": "slide-export/plan/1",
        "checkpoints": [{"path": f"{variant}.pth", "variant": variant} for variant in group],
        "targets": targets,
        "precisions": precisions,
        "exclude": left_out,
        "options": {
            "image_count": [IMAGES.get(family_of(group[0]).task, LEAST_IMAGES)],
            "batch": list(dict.fromkeys(batches.values())),
        },
        "pins": matrix_code.pins(group, targets),
        "verify": [],
        "bench": [
            {"targets": [target], "precisions": [precision], "together": True, "timeout_s": TIMEOUT_S}
            for target, precision in cells
            if target in timed
        ],
        "needs": {"export": {"memory_gib": MEMORY_GIB}},
        "limits": {"timeout_s": TIMEOUT_S},
    }


def batch_of(group: Sequence[str], target: str) -> int | None:
    """Batch that a target makes artifacts of these models for; None is a dynamic one, wherever that is to be had."""
    families = [family_of(variant) for variant in group]
    if optional.fixed_batches(backends.load(target)) is not None:
        return 2 if any(family.name == COUPLED for family in families) else 1
    tasks = {family.task for family in families}
    several = any(len(task.inputs) > 1 for task in TASKS if task.name in tasks)
    return 1 if target == "coreml" and several else None


def can_be_timed(target: str) -> bool:
    """Whether the target's own runtime runs here."""
    backend = backends.load(target)
    return not optional.unavailable_reason(backend) and not optional.substitute_runtime(backend)


def _write() -> None:
    """Writes both tables of the rows so far, in the order of the zoo."""
    order = {name: place for place, name in enumerate(variants())}
    rows = sorted(
        matrix_rows.read(ROWS), key=lambda row: (order.get(row.variant, len(order)), row.target, row.precision)
    )
    for path, text in _texts(rows):
        part = path.with_suffix(".part")
        part.write_text(text)
        part.replace(path)


def _texts(rows: Sequence[Row]) -> Iterator[tuple[Path, str]]:
    yield TABLE, matrix_rows.markdown(rows, machine())
    before = json.loads(PROVED.read_text()) if PROVED.exists() else {}
    yield PROVED, json.dumps(matrix_rows.proved(rows, before), indent=1, sort_keys=True, allow_nan=False) + "\n"


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make matrix", description="Proves and times every variant on every target.")
    for name, choices in (("variants", variants()), ("targets", backends.names()), ("precisions", PRECISIONS)):
        parser.add_argument(f"--{name}", nargs="*", default=choices, choices=choices, metavar=name.upper())
    parser.add_argument("--latency", choices=("yes", "no"), default="yes", help="no: proofs alone")
    found = parser.parse_args(arguments)
    return argparse.Namespace(
        latency=found.latency,
        variants=found.variants or variants(),
        targets=found.targets or backends.names(),
        precisions=found.precisions or PRECISIONS,
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
