"""The preloaded library sees what strace sees: no call that changes something below a directory passes it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.faulted_export import ROOT, SOURCE, compiler

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


@pytest.mark.skipif(compiler() is None, reason="no C compiler: cc, gcc or clang makes the preloaded library")
@pytest.mark.skipif(shutil.which("strace") is None, reason="no strace (Debian's strace)")
def test_the_library_counts_what_strace_counts(tmp_path: Path) -> None:
    library, log, out = tmp_path / "writes.so", tmp_path / "log", tmp_path / "out"
    out.mkdir()
    subprocess.run([str(compiler()), "-shared", "-fPIC", "-Wall", "-Werror", "-o", library, SOURCE, "-ldl"], check=True)
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
