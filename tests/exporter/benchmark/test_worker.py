"""The worker's protocol, in this process."""

import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export.backends import registry as backends
from slide_export.benchmark import worker
from slide_export.benchmark.arrays import packed, unpacked
from slide_export.bundle import store as bundles
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import DtypeStats


def order(bundle: Bundle, scratch: Path, batch: int = 1) -> dict[str, Any]:
    arrays: dict[str, Any] = dict(bundles.golden(bundle).feeds)
    np.savez(scratch / "feeds.npz", **arrays)
    artifact = bundle.manifest["artifact"]
    return {
        "target": bundle.manifest["target"],
        "path": str(bundle.path / artifact["path"]),
        "settings": {**artifact["settings"], "threads": 1},
        "feeds": str(scratch / "feeds.npz"),
        "batch": batch,
        "affinity": [],
    }


def ask(*questions: dict[str, Any]) -> list[dict[str, Any]]:
    answers = io.StringIO()
    worker.answer(io.StringIO("\n".join(map(json.dumps, questions)) + "\n"), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_it_loads_calls_and_profiles(bundle: Bundle, tmp_path: Path) -> None:
    loaded, called, profiled = ask(order(bundle, tmp_path), {"untimed": 1, "calls": 3}, {"profile": 2})
    assert loaded.keys() == {"evaluator", "import_ms", "load_ms"}
    assert loaded["evaluator"] == bundle.manifest["parity"]["evaluator"]
    assert len(called["ms"]) == 3
    assert called["peak_mib"] > 1
    assert profiled["profile"][0].keys() == {"module", "operator", "kind", "ms"}


def test_it_runs_what_it_is_given_and_counts(bundle: Bundle, tmp_path: Path) -> None:
    feeds = {name: value[:2] for name, value in bundles.golden(bundle).feeds.items()}
    alone = {**order(bundle, tmp_path), "feeds": None}
    _, ran, counted = ask(alone, {"run": packed(feeds)}, {"census": True})
    backend = backends.load(bundle.manifest["target"])
    path = bundle.path / bundle.manifest["artifact"]["path"]
    settings = {**bundle.manifest["artifact"]["settings"], "threads": 1}
    expected = backend.Session(path, settings).run(feeds)
    found = unpacked(ran["outputs"])
    assert {name: value.tobytes() for name, value in found.items()} == {n: v.tobytes() for n, v in expected.items()}
    assert DtypeStats(**counted["census"]) == backend.census(path, settings)


def test_an_artifact_that_cannot_be_loaded_is_refused_by_kind(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "broken").write_bytes(b"\x00garbage")
    (refused,) = ask({**order(bundle, tmp_path), "path": str(tmp_path / "broken")}, {"untimed": 0, "calls": 1})
    assert refused["kind"] == "BundleError"
    assert refused["error"].startswith("expected an")


@pytest.mark.parametrize(("batch", "expected"), [(1, [0]), (3, [0, 1, 0]), (5, [0, 1, 0, 1, 0])])
def test_images_are_repeated_to_the_batch(batch: int, expected: list[int]) -> None:
    images = np.arange(2, dtype=np.float32).reshape(2, 1)
    assert worker._repeated(images, batch).ravel().tolist() == expected


def test_the_peak_is_this_processes_own() -> None:
    before = worker._peak_mib()
    block = np.ones(2**20 * 64 // 8)  # 64 MiB, written to
    assert worker._peak_mib() >= before
    assert worker._peak_mib() >= block.nbytes / 2**20


def test_it_rests_until_its_threads_do() -> None:
    ended = threading.Event()

    def spin() -> None:
        end = time.monotonic() + 0.2
        while time.monotonic() < end:
            pass
        ended.set()

    threading.Thread(target=spin).start()
    worker._rest()
    assert ended.is_set()
