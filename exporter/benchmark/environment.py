"""Fingerprint of the machine, and reasons to doubt its numbers. A fact that the system does not tell stays empty."""

import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slide_export.backends import registry as backends
from slide_export.core.measurement import Environment
from slide_export.core.whole_number import is_number

RELEVANT_FLAGS = re.compile(
    r"avx2|fma|f16c|avx512(f|_vnni|_bf16|_fp16)|avx_vnni\w*|amx\w*|asimd\w*|fphp|i8mm|bf16|sve\w*|neon"
)
BUSY_LOAD_AVERAGE = 0.5  # one processor in use half of the time
DOUBTFUL_STEAL_SHARE = 0.01  # of the processors' time
CPU_DIRECTORY = Path("/sys/devices/system/cpu")


def usable() -> tuple[int, ...]:
    """Processors that this process may use: one of each core first, then the cores' second threads."""
    if not hasattr(os, "sched_getaffinity"):
        return tuple(range(os.cpu_count() or 1))
    allowed = sorted(os.sched_getaffinity(0))
    siblings = [_text(CPU_DIRECTORY / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed]
    second = [siblings.index(core) < index for index, core in enumerate(siblings)]  # a thread of an earlier one's core
    return tuple(cpu for _, cpu in sorted(zip(second, allowed, strict=True)))


def flags() -> tuple[str, ...]:
    """This processor's instruction-set extensions, those that matter here; empty where the system does not tell."""
    return tuple(flag for flag in _cpu()[1] if RELEVANT_FLAGS.fullmatch(flag))


def affinity(threads: int) -> tuple[int, ...]:
    """Processors to bind to, one for each thread; none where the system binds nothing."""
    return usable()[:threads] if hasattr(os, "sched_setaffinity") else ()


def fingerprint(device: str, threads: int, targets: Sequence[str]) -> Environment:
    """The machine, what is installed on it for the targets, and reasons to doubt its times.

    Args:
        device: the user's name for it.
        threads: of the measurement.
    """
    cpu, flags = _cpu()
    machine = Environment(
        device=device,
        cpu=cpu,
        flags=tuple(flag for flag in flags if RELEVANT_FLAGS.fullmatch(flag)),
        cores=len(usable()),
        memory_mib=_memory_mib(),
        governor=_text(CPU_DIRECTORY / "cpu0/cpufreq/scaling_governor"),
        system=platform.platform(),
        python=platform.python_version(),
        versions=_versions(targets),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )
    return replace(machine, warnings=tuple(doubts(machine, threads, _quota(), virtual="hypervisor" in flags)))


def doubts(machine: Environment, threads: int, quota: float | None, *, virtual: bool) -> Iterator[str]:
    """Reasons to doubt times of this machine, one sentence each.

    Args:
        quota: processors that its container may use; None without a limit.
        virtual: whether it is a virtual machine.
    """
    if machine.load_average > BUSY_LOAD_AVERAGE:
        yield f"the machine was busy: its load average was {machine.load_average:.1f} before the measurement began"
    if machine.governor not in ("", "performance"):
        yield f"the frequency governor is {machine.governor}, not performance"
    if threads > machine.cores:
        yield f"{threads} threads share {machine.cores} processors"
    if quota is not None and quota < threads:
        yield f"the container may use {quota:g} processors, {threads} threads share them"
    if virtual:
        yield "this is a virtual machine: what else runs on its host is not seen from here"


@dataclass(frozen=True)
class StealTime:
    """CPU steal time since `begin()`: what a virtual machine's host gave to others.

    Attributes:
        stolen_s: counter of the system at the beginning, summed over the processors.
        began_s: monotonic clock at the beginning.
    """

    stolen_s: float
    began_s: float

    @classmethod
    def begin(cls) -> "StealTime":
        """Read the counter and the clock."""
        return cls(_stolen_s(), time.monotonic())

    def doubts(self) -> tuple[str, ...]:
        """One warning where the share of stolen time is worth it, else none."""
        share = (_stolen_s() - self.stolen_s) / max(time.monotonic() - self.began_s, 1e-9) / (os.cpu_count() or 1)
        return (
            (f"the host took {share:.0%} of the processors' time away meanwhile",)
            if share > DOUBTFUL_STEAL_SHARE
            else ()
        )


def _stolen_s() -> float:
    """Steal time of all processors since boot (Source: Linux, man 5 proc_stat, `steal`: the eighth number)."""
    fields = _text(Path("/proc/stat")).partition("\n")[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


def _cpu() -> tuple[str, tuple[str, ...]]:
    """Name of the processor and all its flags."""
    pairs = [line.partition(":") for line in _text(Path("/proc/cpuinfo")).splitlines()]
    facts = {key.strip(): value.strip() for key, _, value in reversed(pairs)}  # the first processor's
    board = _text(Path("/proc/device-tree/model")).strip("\0")  # ARM boards have no model name
    name = facts.get("model name") or board or _sysctl("machdep.cpu.brand_string") or platform.processor()
    return name or platform.machine(), tuple((facts.get("flags") or facts.get("Features") or "").split())


def _memory_mib() -> int:
    with contextlib.suppress(ValueError, OSError, AttributeError):  # no such name, or no sysconf at all
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return int(_sysctl("hw.memsize") or 0) // 2**20


def _quota() -> float | None:
    """Number of processors that a container may use, None without a limit (Source: Linux, cgroup v2, cpu.max)."""
    limit, _, period = _text(Path("/sys/fs/cgroup/cpu.max")).partition(" ")
    return int(limit) / int(period) if is_number(limit) and is_number(period) and int(period) else None


def _versions(targets: Sequence[str]) -> dict[str, str]:
    ours = {name: importlib.metadata.version(name) for name in ("slide-export", "numpy")}
    return ours | {name: found for target in targets for name, found in backends.availability(target).versions.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    """A value of macOS' kernel state; "" on other systems."""
    if platform.system() != "Darwin":
        return ""
    return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
