"""An Android phone, over Debian's adb. It has no Python: a program of the runtime's own measures, round by round."""

from __future__ import annotations

import importlib.metadata
import logging
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from slide_export.backends import registry as backends
from slide_export.benchmark.environment import FLAGS, StealTime, doubts
from slide_export.core.errors import BackendUnavailable, DeviceError, RequestError
from slide_export.core.measurement import Environment, ModuleTime
from slide_export.core.progress import Progress, no_progress

from . import Readiness, phone_programs
from .phone_programs import PROGRAMS, Program, Said

SERIAL = re.compile(r"[\w.:-]+")
DIRECTORY = "/data/local/tmp"  # where a phone lets adb's user write and execute
ASK_S = 60.0
FACTS = (
    "getprop ro.product.manufacturer; getprop ro.product.model; getprop ro.build.version.release; nproc; "
    "grep MemTotal /proc/meminfo; cat /proc/loadavg; "
    "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null || echo; grep -m 1 Features /proc/cpuinfo"
)

log = logging.getLogger(__name__)


class Adb:
    """A phone with a directory of ours. Use it as a context: the directory ends with it."""

    def __init__(self, device: str, runner: Path | None, *, keep: bool = False, step: Progress = no_progress) -> None:
        """Names the phone.

        Args:
            device: adb:SERIAL.
            runner: the program, built for the phone; shared libraries beside it go with it.
            keep: leave what was made there.

        Raises:
            RequestError: there is no such serial number or program.
        """
        serial = device.removeprefix("adb:")
        if not SERIAL.fullmatch(serial):
            raise RequestError(f"expected a phone like adb:SERIAL, as `adb devices` lists it, found {device!r}")
        if runner is None or not runner.is_file():
            names = " or ".join(program.name for program in PROGRAMS.values())
            raise RequestError(f"expected --runner with {names}, built for the phone, found {runner or 'none'}")
        self.name, self._serial, self._runner, self._keep, self._step = device, serial, runner, keep, step
        self._there: dict[Path, PurePosixPath] = {}

    def __enter__(self) -> Adb:
        with self._step(f"connect to {self.name}"):
            state = self.adb("get-state").strip()
            if state != "device":
                raise DeviceError(f"expected {self.name} to be ready, adb calls it {state!r}")
            self._directory = self.shell(f"mktemp -d {DIRECTORY}/slide-export-XXXXXXXX").strip()
        try:
            for file in (self._runner, *sorted(self._runner.parent.glob("*.so"))):
                self.adb("push", str(file), f"{self._directory}/{file.name}")
            self.shell(f"chmod 700 {self._directory}/{self._runner.name}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._keep:
            log.warning("kept on %s: %s", self.name, self._directory)
            return
        try:
            self.shell(f"rm -rf {self._directory}")
        except DeviceError as error:
            log.warning("%s is left on %s: %s", self._directory, self.name, error)

    def adb(self, *words: str, timeout_s: float = ASK_S) -> str:
        """Returns what adb printed.

        Raises:
            BackendUnavailable: there is no adb here.
            DeviceError: it failed.
        """
        if shutil.which("adb") is None:
            raise BackendUnavailable("expected adb on this machine, found none: apt-get install adb")
        try:
            done = subprocess.run(
                ("adb", "-s", self._serial, *words),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"expected {self.name} to answer within {timeout_s:g} s, found none") from None
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise DeviceError(f"expected adb to reach {self.name}, it says: {said[-1] if said else 'nothing'}")
        return done.stdout

    def shell(self, line: str, timeout_s: float = ASK_S) -> str:
        """Returns what a line of shell printed on the phone."""
        return self.adb("shell", line, timeout_s=timeout_s)

    def prepare(self, manifests: Sequence[Mapping[str, Any]]) -> None:
        """Refuses what the one program there cannot run."""
        targets = {manifest["target"] for manifest in manifests}
        if len(targets) > 1 or not targets.issubset(PROGRAMS):
            raise RequestError(f"expected bundles of one target of {', '.join(PROGRAMS)} on a phone, found {targets}")

    def processors(self) -> tuple[int, ...]:
        """Returns the phone's processors."""
        return tuple(range(int(self.shell("nproc"))))

    def affinity(self, threads: int) -> tuple[int, ...]:
        """Returns none: the phone's scheduler decides."""
        return ()

    def readiness(self, target: str, precision: str) -> Readiness:
        """Returns that it runs: whether it does shows in the first round."""
        backends.refuse_unknown_precision(target, precision)
        return Readiness(None, None)

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """Returns what the phone is, and what to know of its program's numbers."""
        maker, model, release, cores, memory, load, governor, features = self.shell(FACTS).split("\n")[:8]
        machine = Environment(
            device=self.name,
            cpu=f"{maker} {model}",
            flags=tuple(flag for flag in features.partition(":")[2].split() if FLAGS.fullmatch(flag)),
            cores=int(cores),
            memory_mib=int(memory.split()[1]) // 1024,
            governor=governor.strip(),
            system=f"Android {release}",
            python="",
            versions={"slide-export": importlib.metadata.version("slide-export")},
            load_average=float(load.split()[0]),
        )
        known = tuple(doubt for target in targets for doubt in PROGRAMS[target].doubts)
        return replace(machine, warnings=(*doubts(machine, threads, None, virtual=False), *known)), StealTime(0.0, 0.0)

    def doubts(self, theft: StealTime) -> tuple[str, ...]:
        """Returns nothing: no other machine shares a phone."""
        return ()

    def put(self, path: Path) -> PurePosixPath:
        """Returns where an artifact's directory lies on the phone, after pushing it; inputs are not pushed."""
        if path.is_file():
            return PurePosixPath(path.name)
        path = path.resolve()
        if path not in self._there:
            self._there[path] = PurePosixPath(self._directory, f"{len(self._there)}-{path.name}")
            with self._step(f"copy {path.name} to {self.name}"):
                self.adb("push", str(path), str(self._there[path]))
        return self._there[path]

    def worker(self, name: str, order: Mapping[str, Any], threads: int, timeout_s: float) -> PhoneWorker:
        """Returns what runs one artifact there, round by round."""
        return PhoneWorker(self, f"{name} on {self.name}", order, PROGRAMS[order["target"]], timeout_s)

    def round(self, program: Program, name: str, order: Mapping[str, Any], calls: int, timeout_s: float) -> Said:
        """Returns what the program said of some calls."""
        line = phone_programs.line(program, self._runner.name, order["path"], order, calls)
        return phone_programs.read(program, name, self.shell(f"cd {shlex.quote(self._directory)}; {line}", timeout_s))


class PhoneWorker:
    """An artifact on a phone: each round is a process of its own."""

    def __init__(self, phone: Adb, name: str, order: Mapping[str, Any], program: Program, timeout_s: float) -> None:
        """Names it; nothing runs yet."""
        self._phone, self._name, self._order, self._program = phone, name, order, program
        self._timeout_s = timeout_s

    def __enter__(self) -> PhoneWorker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def answer(self) -> dict[str, Any]:
        """Returns what a worker says once it has loaded: here, after a first round of one call."""
        said = self._phone.round(self._program, self._name, self._order, 1, self._timeout_s)
        times = {"import_ms": None, "load_ms": said.load_ms, "first_ms": said.first_ms}
        return {"evaluator": f"{self._program.name} on Android", **times}

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        """Returns the milliseconds of each call of a round, and its process's peak."""
        said = self._phone.round(self._program, self._name, self._order, calls, self._timeout_s)
        return {"ms": list(said.ms), "peak_mib": said.peak_mib}

    def profile(self, calls: int) -> tuple[ModuleTime, ...]:
        """Refuses: the programs' own profiles are not read.

        Raises:
            RequestError: always.
        """
        raise RequestError(f"expected no --profile for {self._name}: {self._program.name} times the whole artifact")
