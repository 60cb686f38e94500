"""Exports for `kills` and `errors`, in a process whose system calls are counted, killed or failed: see `writes.c`.

A nursery has the imports, and the smallest model is prepared once: a case costs what `finish` does.
"""

from __future__ import annotations

import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from slide_export.bundle import store
from slide_export.core import hidden
from slide_export.core.errors import ParityError
from slide_export.core.files import sha256_of
from slide_export.core.request import ExportRequest
from slide_export.proof import gate
from slide_export.workflows import all_targets
from slide_export.workflows.child import EXPORT, JobEnd, Nursery

HERE = "tests.faults.faulted_export"
ROOT = Path(__file__).parents[2]
SOURCE = Path(__file__).with_name("writes.c")
IMPORTS = ("torch._dynamo", "onnxruntime")  # what every case would import by itself
COUNT, KILL, FAIL, FULL, TORN = range(5)
NAME, TIMEOUT_S = "small", 600.0
OLDER, NEWER = "older", "newer"
"""Two checkpoints of one model."""


@dataclass(frozen=True)
class Scenario:
    """What is exported, and what stands there already.

    Attributes:
        older: a bundle that is overwritten.
        exchange: whether the file system lets two directories change places.
        rejected: the artifact fails its gate, and is kept beside; an older one is there if `older`.
    """

    target: str = "onnx"
    older: bool = False
    exchange: bool = True
    rejected: bool = False

    @property
    def place(self) -> str:
        """Name of the bundle's directory."""
        return f"{NAME}-{self.target}-fp32" + ".rejected" * self.rejected

    @property
    def name(self) -> str:
        """In one word or two."""
        words = [self.target, "overwrite" if self.older else "fresh"]
        return " ".join(words + ["rejected"] * self.rejected + ["without exchange"] * (not self.exchange))


@dataclass(frozen=True)
class Calls:
    """How many calls one export makes.

    Attributes:
        changes: calls that change something.
        writes: those of them that write bytes.
    """

    changes: int
    writes: int


SCENARIOS = (
    Scenario(older=True),
    Scenario(older=True, exchange=False),
    Scenario(),
    Scenario(exchange=False),
    Scenario(older=True, rejected=True),
    Scenario(older=True, exchange=False, rejected=True),
    Scenario("openvino", older=True),
    Scenario("coreml", older=True),
    Scenario("tensorrt", older=True),
)


@functools.cache
def compiler() -> str | None:
    """A C compiler, None where there is none."""
    return next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)


class Exports:
    """The nursery, with a prepared checkpoint and one whole bundle of each target."""

    def __init__(self) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="slide-export-faults-")
        self.room = Path(self._scratch.name)
        library = self.room / "writes.so"
        subprocess.run(
            [str(compiler()), "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True
        )
        environment = {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        self._nursery = Nursery((HERE, *EXPORT, *IMPORTS), environment).__enter__()
        Finalize(self, Exports._end, (self._nursery, self._scratch), exitpriority=1)
        self._require(self._nursery.run(f"{HERE}:prepare", str(self.room), TIMEOUT_S))
        self._counts: dict[Scenario, Calls] = {}

    @staticmethod
    def _end(nursery: Nursery, scratch: tempfile.TemporaryDirectory[str]) -> None:
        nursery.__exit__()
        scratch.cleanup()

    def checkpoint(self, which: str) -> Path:
        """The file of `OLDER` or `NEWER`."""
        return self.room / f"{which}.pth"

    def stands(self, place: Path) -> str | None:
        """Which bundle stands at a place, whole: `OLDER`, `NEWER`; None where there is nothing at all.

        Raises:
            SlideExportError: a mixture, or a part.
        """
        if not os.path.lexists(place):
            return None
        found = store.read(place).manifest.checkpoint.sha256
        return next(which for which in (OLDER, NEWER) if sha256_of(self.checkpoint(which)) == found)

    def _require(self, end: JobEnd) -> Any:
        if end.exit_code:
            raise RuntimeError(end.message)
        return end.result

    def begin(self, scenario: Scenario, out: Path) -> str | None:
        """Make the directory of a case with what stands there already, and say which that is."""
        out.mkdir(parents=True)
        if scenario.older:
            self.older(scenario, out)
        return self.stands(out / scenario.place)

    def older(self, scenario: Scenario, out: Path) -> None:
        """Put the older bundle to its place, exported once for each kind."""
        kept = self.room / "older" / scenario.name
        if not kept.exists():
            kept.mkdir(parents=True)
            self._require(self.run(scenario, kept, COUNT, which=OLDER))
        shutil.copytree(kept, out, dirs_exist_ok=True)

    def count(self, scenario: Scenario) -> Calls:
        """Number of calls that change something below `out`, from export to export the same."""
        if scenario not in self._counts:
            out = self.room / "count" / scenario.name
            self.begin(scenario, out)
            end = self._require(self.run(scenario, out, COUNT))
            self._counts[scenario] = Calls(end["count"], end["writes"])
        return self._counts[scenario]

    def run(
        self, scenario: Scenario, out: Path, action: int, at: int = 0, error: int = 0, which: str = NEWER
    ) -> JobEnd:
        """One export, with a fault."""
        request = ExportRequest(
            self.checkpoint(which), scenario.target, out=out, overwrite=True, image_count=1, form="taps", name=NAME
        )
        order = {
            "request": all_targets.plain(request), "prepared": str(self.room / which), "action": action, "at": at,
            "jobs": 1,
            "error": error, "below": str(out), "exchange": scenario.exchange, "rejected": scenario.rejected,
        }  # fmt: skip
        return self._nursery.run(f"{HERE}:finish", order, TIMEOUT_S)


@functools.cache
def exports() -> Exports:
    """The one of this process."""
    return Exports()


def prepare(room: str) -> None:
    """Write two small checkpoints, and what is prepared of each."""
    import torch

    from slide_export.models.swin import SwinConfig, SwinTransformer
    from slide_export.workflows.prepare import prepare as prepared_of
    from slide_export.workflows.prepared_files import write
    from slide_export.workflows.resolve import resolve
    from tests.conftest import randomise

    torch.set_num_threads(1)
    config = SwinConfig(
        embed_dim=8, depths=(1, 1, 1, 1), heads=(1, 2, 4, 8), window=(2, 2), image_size=(64, 64), num_classes=3,
        slide_stages=1,
    )  # fmt: skip
    for seed, which in enumerate((OLDER, NEWER)):
        torch.manual_seed(seed)
        path = Path(room, f"{which}.pth")
        torch.save({"model": randomise(SwinTransformer(config), seed).state_dict()}, path)
        request = ExportRequest(path, out=Path(room, "none"), image_count=1, form="taps", name=NAME)
        prepared = prepared_of(resolve(request).source)
        prepared.in_form("taps", "onnx").graph  # noqa: B018  # exported now, once for all cases
        Path(room, which).mkdir()
        write(prepared, Path(room, which))


def finish(order: dict[str, Any]) -> dict[str, Any]:
    """Finish one export under a fault, and tell how many calls there were."""
    library = ctypes.CDLL(os.environ["LD_PRELOAD"])
    library.fault_count.restype = library.fault_writes.restype = ctypes.c_long
    library.fault_last.restype = ctypes.c_char_p
    if order["rejected"]:
        gate.judge = _reject
    library.fault_exchange(int(order["exchange"]))
    library.fault_arm(
        ctypes.c_int(order["action"]), ctypes.c_long(order["at"]), order["error"], order["below"].encode()
    )
    try:
        end = all_targets.finish_one(order)
    finally:
        count, writes, last = library.fault_count(), library.fault_writes(), library.fault_last().decode()
        library.fault_arm(-1, ctypes.c_long(0), 0, b"")
    return {**end, "count": count, "writes": writes, "last": last}


def _reject(*_: object, **__: object) -> None:
    raise ParityError("expected the model, found another one")


def next_run(out: Path) -> list[str]:
    """Names in a directory once a later run has begun to write there."""
    hidden.sweep(out)
    return sorted(path.name for path in out.iterdir())
