"""The machine's fingerprint, and what makes its numbers doubtful. What a system does not tell stays empty."""

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

FLAGS = re.compile(r"avx2|fma|f16c|avx512(f|_vnni|_bf16|_fp16)|avx_vnni\w*|amx\w*|asimd\w*|fphp|i8mm|bf16|sve\w*|neon")
BUSY = 0.5  # load average: one processor in use half of the time
STOLEN = 0.01  # share of the processors' time
CPUS = Path("/sys/devices/system/cpu")


def usable() -> tuple[int, ...]:
    """Returns the processors that this process may use, one of each core before their second threads."""
    if not hasattr(os, "sched_getaffinity"):
        return tuple(range(os.cpu_count() or 1))
    allowed = sorted(os.sched_getaffinity(0))
    siblings = [_text(CPUS / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu) for cpu in allowed]
    second = [siblings.index(core) < place for place, core in enumerate(siblings)]
    return tuple(cpu for _, cpu in sorted(zip(second, allowed, strict=True)))


def affinity(threads: int) -> tuple[int, ...]:
    """Returns the processors to bind to, one a thread; none where the system binds nothing."""
    return usable()[:threads] if hasattr(os, "sched_setaffinity") else ()


def fingerprint(device: str, threads: int, targets: Sequence[str]) -> Environment:
    """Returns what the machine is and what is installed on it for the targets.

    Args:
        device: the user's name for it.
        threads: that will be used.
    """
    cpu, flags = _cpu()
    machine = Environment(
        device=device,
        cpu=cpu,
        flags=tuple(flag for flag in flags if FLAGS.fullmatch(flag)),
        cores=len(usable()),
        memory_mib=_memory_mib(),
        governor=_text(CPUS / "cpu0/cpufreq/scaling_governor"),
        system=platform.platform(),
        python=platform.python_version(),
        versions=_versions(targets),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )
    return replace(machine, warnings=tuple(doubts(machine, threads, _quota(), virtual="hypervisor" in flags)))


def doubts(machine: Environment, threads: int, quota: float | None, *, virtual: bool) -> Iterator[str]:
    """Yields what makes times of this machine doubtful, a sentence each.

    Args:
        quota: processors that its container may use; None without a limit.
        virtual: it is a virtual machine.
    """
    if machine.load_average > BUSY:
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
    """Time of the processors that a virtual machine's host gave to others, since the object was made."""

    stolen_s: float
    began_s: float

    @classmethod
    def begin(cls) -> "StealTime":
        """Returns the watch, started."""
        return cls(_stolen_s(), time.monotonic())

    def doubts(self) -> tuple[str, ...]:
        """Returns the warning that it is worth, none where it is small or not told."""
        share = (_stolen_s() - self.stolen_s) / max(time.monotonic() - self.began_s, 1e-9) / (os.cpu_count() or 1)
        return (f"the host took {share:.0%} of the processors' time away meanwhile",) if share > STOLEN else ()


def _stolen_s() -> float:
    """Returns the eighth number of the first line of /proc/stat (Source: Linux, man 5 proc_stat, `steal`)."""
    fields = _text(Path("/proc/stat")).partition("\n")[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else 0.0


def _cpu() -> tuple[str, tuple[str, ...]]:
    """Returns the processor's name and every flag that the system tells."""
    pairs = [line.partition(":") for line in _text(Path("/proc/cpuinfo")).splitlines()]
    told = {key.strip(): value.strip() for key, _, value in reversed(pairs)}  # the first processor's
    board = _text(Path("/proc/device-tree/model")).strip("\0")  # ARM boards have no model name
    name = told.get("model name") or board or _sysctl("machdep.cpu.brand_string") or platform.processor()
    return name or platform.machine(), tuple((told.get("flags") or told.get("Features") or "").split())


def _memory_mib() -> int:
    with contextlib.suppress(ValueError, OSError, AttributeError):  # no such name, or no sysconf at all
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    return int(_sysctl("hw.memsize") or 0) // 2**20


def _quota() -> float | None:
    """Returns how many processors a container may use, None where it is not limited (Source: Linux, cgroup v2)."""
    limit, _, period = _text(Path("/sys/fs/cgroup/cpu.max")).partition(" ")
    return int(limit) / int(period) if limit.isdigit() and period else None


def _versions(targets: Sequence[str]) -> dict[str, str]:
    ours = {name: importlib.metadata.version(name) for name in ("slide-export", "numpy")}
    return ours | {name: found for target in targets for name, found in backends.availability(target).versions.items()}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def _sysctl(name: str) -> str:
    """Returns what macOS says of itself; "" elsewhere."""
    if platform.system() != "Darwin":
        return ""
    return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()
