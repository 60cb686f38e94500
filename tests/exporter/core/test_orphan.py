"""A process ends with its parent, although nobody told it to."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

CHILD = (
    "import os, time; from slide_export.core.orphan import end_with_parent\n"
    "end_with_parent(os.getppid()); print(os.getpid(), flush=True); time.sleep(60)"
)
PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]]).wait()"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel of Linux alone ends a child with its parent")
def test_a_child_ends_with_a_parent_that_is_killed() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while _runs(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_whose_parent_is_gone_already_ends() -> None:
    script = "import os, sys; from slide_export.core.orphan import end_with_parent; end_with_parent(os.getpid())"
    code = subprocess.run([sys.executable, "-c", script], check=False).returncode
    assert code == (-9 if sys.platform == "linux" else 0)
