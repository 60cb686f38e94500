"""Android phone over adb. It has no Python: a command-line program of the runtime measures, round by round."""

from __future__ import annotations

import importlib.metadata
import logging
import math
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from slide_export.backends import registry as backends
from slide_export.benchmark.environment import RELEVANT_FLAGS, StealTime, doubts
from slide_export.benchmark.plan import DeviceRequest
from slide_export.bundle.manifest import Manifest
from slide_export.core.errors import BackendUnavailable, DeviceError, RequestError, TimeLimitError, option
from slide_export.core.measurement import Environment, ModuleTime, Peaks
from slide_export.core.progress import Progress, no_progress

from . import Readiness, phone_programs
from .phone_programs import PROGRAMS, PhoneProgram, ProgramReport

SERIAL = re.compile(r"[\w.:-]+")
DIRECTORY = "/data/local/tmp"  # where a phone lets adb's user write and execute
OUR_DIRECTORY = re.compile(rf"{DIRECTORY}/slide-export-[\w.-]+")
ANSWER_TIMEOUT_S = 60.0
MOST_PROCESSORS = 4096  # Linux's own bound (NR_CPUS)
FACTS_COMMAND = (
    "getprop ro.product.manufacturer; getprop ro.product.model; getprop ro.build.version.release; nproc; "
    "grep MemTotal /proc/meminfo; cat /proc/loadavg; "
    "cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor 2>/dev/null || echo; grep -m 1 Features /proc/cpuinfo"
)

log = logging.getLogger(__name__)


class NoAnswer(DeviceError):
    """A phone did not answer in time."""


class AdbDevice:
    """Phone with a directory of ours; a context, which removes the directory."""

    def __init__(self, request: DeviceRequest, *, step: Progress = no_progress) -> None:
        """Name the phone; entering the context connects.

        Args:
            request: named adb:SERIAL, with the program as `runner`; shared libraries beside the program go with it.

        Raises:
            RequestError: there is no such serial number or program.
        """
        serial, runner = request.name.removeprefix("adb:"), request.runner
        if not SERIAL.fullmatch(serial):
            raise RequestError(f"expected a phone like adb:SERIAL, as `adb devices` lists it, found {request.name!r}")
        if runner is None or not runner.is_file():
            names = " or ".join(program.name for program in PROGRAMS.values())
            raise RequestError(
                f"expected {option('runner')} with {names}, built for the phone, found {runner or 'none'}"
            )
        self.name, self._serial, self._runner = request.name, serial, runner
        self._keep, self._step = request.keep, step
        self._remote_paths: dict[Path, PurePosixPath] = {}

    def __enter__(self) -> AdbDevice:
        with self._step(f"connect to {self.name}"):
            state = self.adb("get-state").strip()
            if state != "device":
                raise DeviceError(f"expected {self.name} to be ready, adb calls it {state!r}")
            self._directory = self._new_directory()
        try:
            for file in (self._runner, *sorted(self._runner.parent.glob("*.so"))):
                self.adb("push", str(file), f"{self._directory}/{file.name}")
            self.shell(f"chmod 700 {shlex.quote(f'{self._directory}/{self._runner.name}')}")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _new_directory(self) -> str:
        found = self.shell(f"mktemp -d {DIRECTORY}/slide-export-XXXXXXXX").strip()
        if not OUR_DIRECTORY.fullmatch(found):
            raise DeviceError(f"expected {self.name} to make a directory in {DIRECTORY}, it answers {found[:80]!r}")
        return found

    def __exit__(self, *_: object) -> None:
        if self._keep:
            log.warning("kept on %s: %s", self.name, self._directory)
            return
        try:
            self.shell(f"rm -rf {shlex.quote(self._directory)}")
        except DeviceError as error:
            log.warning("%s is left on %s: %s", self._directory, self.name, error)

    def adb(self, *words: str, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
        """Run adb; give its output.

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
            raise NoAnswer(f"expected {self.name} to answer within {timeout_s:g} s, found none") from None
        if done.returncode:
            message = (done.stderr or done.stdout).strip().splitlines()
            raise DeviceError(f"expected adb to reach {self.name}, it says: {message[-1] if message else 'nothing'}")
        return done.stdout

    def shell(self, line: str, timeout_s: float = ANSWER_TIMEOUT_S) -> str:
        """Run a line of shell on the phone; give its output."""
        return self.adb("shell", line, timeout_s=timeout_s)

    def prepare(self, manifests: Sequence[Manifest]) -> None:
        """Refuse bundles that the one program there cannot run."""
        targets = {manifest.target for manifest in manifests}
        if len(targets) > 1 or not targets.issubset(PROGRAMS):
            raise RequestError(f"expected bundles of one target of {', '.join(PROGRAMS)} on a phone, found {targets}")

    def processors(self) -> tuple[int, ...]:
        """All processors of the phone."""
        answer = self.shell("nproc").strip()
        if not answer.isdecimal() or not 0 < int(answer[:9]) <= MOST_PROCESSORS:
            raise DeviceError(f"expected {self.name} to say how many processors it has, it answers {answer[:80]!r}")
        return tuple(range(int(answer)))

    def affinity(self, threads: int) -> tuple[int, ...]:
        """None: the phone's scheduler decides."""
        return ()

    def readiness(self, target: str, precision: str) -> Readiness:
        """Ready without a question: whether the artifact runs shows in the first round."""
        backends.refuse_unknown_precision(target, precision)
        return Readiness(None, None)

    def fingerprint(self, threads: int, targets: Sequence[str]) -> tuple[Environment, StealTime]:
        """The phone, with the program's own doubts among its warnings; see `Device`."""
        answer = self.shell(FACTS_COMMAND)
        try:
            machine = self._machine(answer.split("\n"))
        except (ValueError, IndexError):
            raise DeviceError(f"expected facts about {self.name}, line by line, it answers {answer[:80]!r}") from None
        known = tuple(doubt for target in targets for doubt in PROGRAMS[target].doubts)
        return replace(machine, warnings=(*doubts(machine, threads, None, virtual=False), *known)), StealTime(0.0, 0.0)

    def _machine(self, facts: Sequence[str]) -> Environment:
        """The phone by the lines that `FACTS_COMMAND` prints; another answer raises ValueError or IndexError."""
        maker, model, release, cores, memory, load, governor, features = facts[:8]
        load_average = float(load.split()[0])
        if not math.isfinite(load_average):
            raise ValueError(load)
        return Environment(
            device=self.name,
            cpu=f"{maker} {model}",
            flags=tuple(flag for flag in features.partition(":")[2].split() if RELEVANT_FLAGS.fullmatch(flag)),
            cores=int(cores),
            memory_mib=int(memory.split()[1]) // 1024,
            governor=governor.strip(),
            system=f"Android {release}",
            python="",
            versions={"slide-export": importlib.metadata.version("slide-export")},
            load_average=load_average,
        )

    def doubts(self, steal_time: StealTime) -> tuple[str, ...]:
        """None: no other machine shares a phone."""
        return ()

    def peaks(self, threads: int, kinds: Sequence[str]) -> Peaks | None:
        """None: what measures them is not on the device."""
        return None

    def put(self, path: Path) -> PurePosixPath:
        """Push an artifact's directory, once; give its path there. Inputs are not pushed: the program makes its own."""
        if path.is_file():
            return PurePosixPath(path.name)
        path = path.resolve()
        if path not in self._remote_paths:
            self._remote_paths[path] = PurePosixPath(self._directory, f"{len(self._remote_paths)}-{path.name}")
            with self._step(f"copy {path.name} to {self.name}"):
                self.adb("push", str(path), str(self._remote_paths[path]))
        return self._remote_paths[path]

    def worker(self, name: str, job: Mapping[str, Any], threads: int, timeout_s: float) -> PhoneWorker:
        """One artifact there, run round by round."""
        return PhoneWorker(self, f"{name} on {self.name}", job, PROGRAMS[job["target"]], timeout_s)

    def round(
        self, program: PhoneProgram, name: str, job: Mapping[str, Any], calls: int, timeout_s: float
    ) -> ProgramReport:
        """Run the program for some calls; give its report.

        Raises:
            TimeLimitError: it did not end in time.
        """
        line = phone_programs.line(program, self._runner.name, job, calls)
        try:
            output = self.shell(f"cd {shlex.quote(self._directory)}; {line}", timeout_s)
        except NoAnswer as error:
            raise TimeLimitError(f"{error}; a longer {option('timeout_s', 'timeout')} gives it more") from None
        return phone_programs.read(program, name, output)


class PhoneWorker:
    """Artifact on a phone: each round is a process of its own."""

    def __init__(
        self, phone: AdbDevice, name: str, job: Mapping[str, Any], program: PhoneProgram, timeout_s: float
    ) -> None:
        """Remember what to run; nothing runs yet."""
        self._phone, self._name, self._job, self._program = phone, name, job, program
        self._timeout_s = timeout_s

    def __enter__(self) -> PhoneWorker:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def answer(self) -> dict[str, Any]:
        """A worker's answer after loading: here, from a first round of one call."""
        report = self._phone.round(self._program, self._name, self._job, 1, self._timeout_s)
        times = {"import_ms": None, "load_ms": report.load_ms, "first_ms": report.first_ms}
        return {"evaluator": f"{self._program.name} on Android", **times}

    def call(self, calls: int, untimed: int = 0) -> dict[str, Any]:
        """Milliseconds of each call of a round, and the peak of its process in MiB."""
        report = self._phone.round(self._program, self._name, self._job, calls, self._timeout_s)
        return {"ms": list(report.ms), "peak_mib": report.peak_mib}

    def profile(self, calls: int) -> tuple[ModuleTime, ...]:
        """Refuse: the programs' own profiles are not read.

        Raises:
            RequestError: always.
        """
        raise RequestError(
            f"{option('profile')} is not available for {self._name}: {self._program.name} times the whole artifact"
        )
