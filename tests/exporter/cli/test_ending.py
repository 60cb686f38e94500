"""How the process ends: by signals, readers that left, disks that are full, encodings that lack a character."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slide_export.cli import ending

COMMAND = (sys.executable, "-m", "slide_export")
WAITS = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
    "import sys, time; from pathlib import Path; from slide_export.cli import main\n"
    "from slide_export.bundle.staging import staging\n"
    "def wait(*_, **__):\n"
    "    with staging(Path(sys.argv[1]) / 'b', overwrite=True) as new:\n"
    "        (new / 'half').touch(); print('ready', flush=True); time.sleep(60)\n"
    "main.api.inspect = wait; main.main(['inspect', 'x.pth'])"
)


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGTERM, 1), (signal.SIGHUP, 1), (signal.SIGINT, 1), (signal.SIGINT, 3)]
)
def test_a_signal_leaves_nothing_and_is_the_exit_code(number: signal.Signals, times: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    for _ in range(times):
        process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert said.strip() == "interrupted: nothing was written half"
    assert list(tmp_path.iterdir()) == []


def test_a_signal_that_the_parent_ignores_stays_ignored() -> None:
    script = (
        "import signal; from slide_export.cli import ending; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "ending.obey_signals(); print(signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "True\n"


def test_a_reader_that_left_is_no_error() -> None:
    line = f"{' '.join(COMMAND)} variants --json | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stdout == "[\n0\n"
    assert done.stderr == ""


def test_a_reader_of_the_progress_that_left_ends_no_work() -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "x.pth", "--target", "abacus"], stdout=write, stderr=write, check=False)
    os.close(write)
    assert done.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(("arguments", "code"), [(("variants",), 74), (("targets",), 74), (("absent",), 2)])
def test_a_full_standard_output_is_said(arguments: tuple[str, ...], code: int) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, *arguments, "--json"], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == code
    assert b"expected to write to standard output, the system says: No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr


def test_what_an_encoding_lacks_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "✓.pth").write_text("not a checkpoint")
    done = subprocess.run(
        [*COMMAND, "✓.pth"], cwd=tmp_path, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, capture_output=True
    )
    assert done.returncode == 2
    assert b"?.pth" in done.stderr


def test_the_bytes_of_a_name_that_is_no_text_are_printed_as_they_are() -> None:
    ending.prepare_streams()
    assert "bild\udcfc ✓".encode("latin-1", ending.ENCODING_ERRORS) == b"bild\xfc ?"
