"""The preloaded library sees what strace sees: no call that changes something below a directory passes it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.faulted_export import ROOT, SOURCE, TORN, compiler

CHANGES = (
    "open,openat,write,pwrite64,writev,rename,renameat,renameat2,mkdir,mkdirat,unlink,unlinkat,rmdir,fsync,fdatasync,"
    "chmod,fchmod,fchmodat,ftruncate,sendfile,copy_file_range"
)
BUNDLES = """
import ctypes, os, sys
from pathlib import Path
from tests.exporter.bundle.test_store import make
library, out = ctypes.CDLL(os.environ["LD_PRELOAD"]), Path(sys.argv[1])
library.fault_count.restype = ctypes.c_long
library.fault_arm(0, ctypes.c_long(0), 0, str(out).encode())
for content in (b"older", b"newer"):
    make(out / "b", overwrite=True, content=content)
print(library.fault_count())
"""

TWO_WRITES = """
import ctypes, os, sys
with open(sys.argv[1] + "/file", "wb", buffering=0) as file:
    ctypes.CDLL(os.environ["LD_PRELOAD"]).fault_arm(int(sys.argv[2]), ctypes.c_long(2), 0, sys.argv[1].encode())
    file.write(b"once")
    file.write(b"twice...")
"""


@pytest.fixture
def library(tmp_path: Path) -> Path:
    made = tmp_path / "writes.so"
    subprocess.run([str(compiler()), "-shared", "-fPIC", "-Wall", "-Werror", "-o", made, SOURCE, "-ldl"], check=True)
    return made


@pytest.mark.skipif(compiler() is None, reason="no C compiler: cc, gcc or clang makes the preloaded library")
def test_a_torn_write_leaves_half_of_its_bytes(library: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWO_WRITES, tmp_path, str(TORN)], env={**os.environ, "LD_PRELOAD": str(library)}
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"oncetwic"


@pytest.mark.skipif(compiler() is None, reason="no C compiler: cc, gcc or clang makes the preloaded library")
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace (Debian's strace)")
def test_the_library_counts_what_strace_counts(library: Path, tmp_path: Path) -> None:
    log, out = tmp_path / "log", tmp_path / "out"
    out.mkdir()
    if subprocess.run(["strace", "-o", log, "true"], check=False, capture_output=True).returncode:
        pytest.skip("ptrace is refused here, so that strace cannot look")
    done = subprocess.run(
        ["strace", "-f", "-qq", "-y", "-e", f"trace={CHANGES}", "-E", f"LD_PRELOAD={library}", "-o", log,
         sys.executable, "-c", BUNDLES, out],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seen = [line for line in log.read_text().splitlines() if _changes(line, str(out))]
    assert len(seen) > 30
    assert int(done.stdout) == len(seen)


def _changes(line: str, out: str) -> bool:
    """Whether a call changes something below a directory; a file that is opened to be read does not."""
    call = line.partition(" ")[2].lstrip()
    below = re.search(rf'[<"]{re.escape(out)}[/>"]', call)
    return below is not None and (not call.startswith("open") or re.search("O_WRONLY|O_RDWR|O_CREAT", call) is not None)
