"""`make matrix`: every variant at its full size, to every target, proved and timed. Hours; a finished row is kept.

    make matrix                                              everything that is not done yet
    make matrix VARIANTS="nat_tiny slide_nat_tiny" TARGETS=onnx PRECISIONS=fp32
    make matrix LATENCY=no                                   proofs alone: then the machine need not be quiet

A model and the one with slide attention that replaces it are measured in one sitting, so their ratio means something.
Every export is a process of its own, and its bundle is deleted after it was measured. Rows stand in matrix.jsonl beside
this file (delete it to begin anew); from them come MATRIX.md and models/proved.json.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.benchmark import bundles as benchmark
from slide_export.core import typed_json
from slide_export.core.errors import MeasurementError
from slide_export.core.request import ExportRequest
from slide_export.models import variants
from slide_export.workflows.all_targets import TargetResult, export_all
from tests.benchmarks.export_cost import save_random
from tests.benchmarks.machine import machine
from tests.benchmarks.matrix_rows import Row

from . import matrix_rows

ROOT = Path(__file__).parents[2]
ROWS = Path(__file__).with_name("matrix.jsonl")
TABLE = Path(__file__).with_name("MATRIX.md")
PROVED = ROOT / "models/proved.json"
NO_CODE = tuple(f":!{file.relative_to(ROOT)}" for file in (ROWS, TABLE, PROVED))
PRECISIONS = ("fp32", "fp16", "w16")  # of these, what a target has
IMAGES = 2
TIMEOUT_S = 3600.0
SLIDE = "slide_"  # what the name of a model has before that of the one it replaces


def main(arguments: Sequence[str]) -> int:
    """Runs what is asked for and not done; returns 0 if every row of it was proved."""
    asked = _parse(arguments)
    for group in groups(asked.variants):
        for target in asked.targets:
            timed = asked.latency == "yes" and can_be_timed(target)
            for precision in had(target, asked.precisions):
                done = {row.key for row in matrix_rows.read(ROWS) if row.finished and (row.timed or not timed)}
                if not all((variant, target, precision) in done for variant in group):
                    rows = run_group(group, target, precision, timed)
                    matrix_rows.append(ROWS, [replace(row, commit=_commit()) for row in rows])
                    _write()
    keys = {(v, t, p) for v in asked.variants for t in asked.targets for p in had(t, asked.precisions)}
    proved = {row.key for row in matrix_rows.read(ROWS) if row.exit_code == 0}
    _write()
    return 0 if keys <= proved else 1


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


def run_group(group: Sequence[str], target: str, precision: str, timed: bool) -> list[Row]:
    """The rows of models that are measured together; nothing of them stays on the disk."""
    with tempfile.TemporaryDirectory() as temporary:
        out, results = Path(temporary), []
        for variant in group:
            print(f"{variant} {target} {precision}", file=sys.stderr, flush=True)
            with multiprocessing.get_context("spawn").Pool(1) as pool:  # gives the memory of the weights back
                checkpoint = pool.apply(save_random, (variant, out))
            recipe = ExportRequest(checkpoint, target, precision, out=out, variant=variant, image_count=IMAGES)
            results += export_all(recipe, (target,), TIMEOUT_S, jobs=1)
            checkpoint.unlink()
        rows = [_row(*pair, precision) for pair in zip(group, results, strict=True)]
        return _timed(rows, [result.bundle.path for result in results if result.bundle]) if timed else rows


def _row(variant: str, result: TargetResult, precision: str) -> Row:
    row = Row(variant, result.target, precision, result.exit_code, result.message, round(result.seconds, 1))
    if result.bundle is None:
        return row
    manifest = result.bundle.manifest
    size, parameters = manifest.artifact.bytes, manifest.model.parameters
    return replace(row, parameters=parameters, bytes=size, parity=typed_json.finite(typed_json.plain(manifest.parity)))


def can_be_timed(target: str) -> bool:
    """Whether the target's own runtime runs here."""
    backend = backends.load(target)
    return not optional.unavailable_reason(backend) and not optional.substitute_runtime(backend)


def _timed(rows: Sequence[Row], bundles: Sequence[Path]) -> list[Row]:
    """The rows with their latency; as they are where a row has no bundle or a process failed."""
    if len(bundles) < len(rows):
        return list(rows)
    try:
        result = benchmark.bench(bundles)
    except MeasurementError as error:
        print(f"not measured: {error}", file=sys.stderr)
        return list(rows)
    timed = [replace(row, latency_ms=run.p50_ms.value) for row, run in zip(rows, result.runs, strict=True)]
    for comparison in result.comparisons:  # the parent stands first: a is what slides
        timed[comparison.a] = replace(timed[comparison.a], over_parent=comparison.ratio.value)
    return timed


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
