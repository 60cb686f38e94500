"""Rows of the matrix from a sweep's database and artifact store."""

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from slide_export.bundle import store as bundles
from slide_export.bundle.manifest import Manifest
from slide_export.core import typed_json
from slide_export.core.errors import CRASHED
from slide_export.fleet import archive, cas
from slide_export.fleet.database import Database
from tests.benchmarks.matrix_rows import Row


def rows(database: Path, store: Path) -> list[Row]:
    """Every export of the plan that was run last, with the latency of its sitting."""
    with Database.read_only(database) as opened:
        found = dict(_exports(opened, cas.open(store)))
        sittings = opened.rows(f"SELECT result {OF_PLAN} AND stage = 'bench' AND state = 'done'")
    for (result,) in sittings:
        told = json.loads(str(result))
        _time(found, told["exports"], told["result"])
    return list(found.values())


OF_PLAN = "FROM plan_job JOIN job ON key = job WHERE plan = (SELECT max(id) FROM plan)"


def _exports(database: Database, store: cas.Store) -> Iterator[tuple[str, Row]]:
    columns = "key, spec, exit_code, coalesce(message, ''), coalesce(seconds, 0), output"
    for key, spec, code, message, seconds, output in database.rows(f"SELECT {columns} {OF_PLAN} AND stage = 'export'"):
        options = json.loads(str(spec))["options"]
        export = options["export"]
        exit_code = CRASHED if code is None else int(str(code))  # without one what it needs has failed
        row = Row(
            export["name"], options["target"], export["precision"], exit_code, str(message),
            round(float(str(seconds)), 1),
        )  # fmt: skip
        yield str(key), row if exit_code or output is None else _told(row, _manifest(store, str(output)))


def _manifest(store: cas.Store, output: str) -> Manifest:
    with tempfile.TemporaryDirectory() as scratch:
        packed, place = Path(scratch) / "packed", Path(scratch) / "bundle"
        store.fetch(output, packed)
        archive.unpack(packed, place)
        return bundles.read(place).manifest


def _told(row: Row, manifest: Manifest) -> Row:
    parity = typed_json.finite(typed_json.plain(manifest.parity))
    return replace(row, parameters=manifest.model.parameters, bytes=manifest.artifact.bytes, parity=parity)


def _time(found: dict[str, Row], exports: list[str], result: dict[str, Any]) -> None:
    """Writes a sitting's latencies to its rows; the parent stands first: a is what slides."""
    for key, run in zip(exports, result["runs"], strict=True):
        found[key] = replace(found[key], latency_ms=run["p50_ms"]["value"])
    for comparison in result["comparisons"]:
        slides = exports[comparison["a"]]
        found[slides] = replace(found[slides], over_parent=comparison["ratio"]["value"])
