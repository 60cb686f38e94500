"""A warm process is one like any other: arguments, environment, directory, streams, exit code, signals, its end."""

import array
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.warm import command
from tests.warm.client import SOCKET

ROOT = Path(__file__).parents[2]
TELLS = """
import json, os, sys
print(json.dumps({
    "argv": sys.argv, "name": __name__, "directory": os.getcwd(), "here": os.environ.get("HERE"),
    "read": sys.stdin.read(), "warm": "torch" in sys.modules, "pid": os.getpid(), "path": sys.path[0],
}))
print("to the other stream", file=sys.stderr)
"""


def written(text: str, tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(text)
    return path


def test_it_is_given_what_any_process_is(tmp_path: Path) -> None:
    line = command(written(TELLS, tmp_path), "a", "b c")
    done = subprocess.run(
        line, cwd=tmp_path, env={**os.environ, "HERE": "x"}, input="fed", capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert told.pop("pid") != os.getpid()
    assert told == {
        "argv": [str(tmp_path / "program.py"), "a", "b c"],
        "name": "__main__",
        "directory": str(tmp_path),
        "here": "x",
        "read": "fed",
        "warm": True,
        "path": str(tmp_path),
    }
    assert done.stderr == "to the other stream\n"


def test_a_module_is_run_by_its_name() -> None:
    done = subprocess.run(command("-m", "slide_export", "--version"), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("slide-export, version")
    assert done.stderr == ""


def test_a_program_may_stand_in_the_command_line() -> None:
    line = command("-c", "import sys; print(__name__, sys.argv)", "a")
    assert subprocess.run(line, capture_output=True, text=True, check=True).stdout == "__main__ ['-c', 'a']\n"


@pytest.mark.parametrize(
    ("program", "code", "said"),
    [
        ("", 0, ""),
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('words')", 1, "words\n"),
        ("raise ValueError('x')", 1, "ValueError: x\n"),
        ("import os; os._exit(7)", 7, ""),
        ("import os; os.abort()", -signal.SIGABRT, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL, ""),
        ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("import atexit; atexit.register(print, 'last')", 0, "last\n"),
    ],
)
def test_it_ends_as_python_does(program: str, code: int, said: str, tmp_path: Path) -> None:
    path = written(program, tmp_path)
    warm, cold = (
        subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        for line in (command(path), (sys.executable, str(path)))
    )
    assert (warm.returncode, cold.returncode) == (code, code)
    for done in (warm, cold):
        assert done.stdout.endswith(said)
        assert bool(done.stdout) == bool(said)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_it(number: signal.Signals, tmp_path: Path) -> None:
    program = f"""import signal, sys, time
signal.signal({int(number)}, lambda *_: sys.exit(9))
print(1, flush=True)
time.sleep(60)
"""
    with subprocess.Popen(command(written(program, tmp_path)), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        assert process.wait(30) == 9


def test_it_is_killed_with_what_was_started(tmp_path: Path) -> None:
    program = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    with subprocess.Popen(command(written(program, tmp_path)), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        work = Path("/proc") / process.stdout.readline().strip()
        assert work.exists()
        process.kill()
        end = time.monotonic() + 30
        while work.exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert not work.exists()


def test_it_is_killed_with_a_client_that_has_not_read_which_process_it_is(tmp_path: Path) -> None:
    """To the server that is an error of the connection and no end of it."""
    subprocess.run(command("-c", ""), check=True)  # the server listens
    program = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)"
    order = {"argv": ["-c", program], "environment": dict(os.environ), "directory": str(tmp_path)}
    said, (reading, writing) = json.dumps(order).encode(), os.pipe()
    with socket.socket(socket.AF_UNIX) as client, os.fdopen(reading) as read, os.fdopen(writing, "w") as stream:
        client.connect(os.environ[SOCKET])
        rights = array.array("i", [stream.fileno()] * 3)
        client.sendmsg([len(said).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        client.sendall(said)
        work = Path("/proc") / read.readline().strip()
    end = time.monotonic() + 30
    while work.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not work.exists()


def test_the_server_ends_with_a_session_that_was_killed(tmp_path: Path) -> None:
    program = f"""import os, signal, subprocess
from tests import warm
os.environ[{SOCKET!r}] = {str(tmp_path / "socket")!r}
subprocess.run(warm.command("-c", ""), check=True)
print(*(server.pid for server in warm._servers.values()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    server, end = Path("/proc") / done.stdout.strip(), time.monotonic() + 30
    assert done.returncode == -signal.SIGKILL
    while server.exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not server.exists()


def test_a_client_that_is_gone_before_it_has_asked_ends_nothing_else(tmp_path: Path) -> None:
    path = written("print('here')", tmp_path)
    subprocess.run(command(path), check=True, stdout=subprocess.DEVNULL)  # the server listens
    for sent in (b"", b"\0" * 8):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(os.environ[SOCKET])
            if sent:
                client.sendmsg([sent], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
    done = subprocess.run(command(path), capture_output=True, text=True, check=True)
    assert done.stdout == "here\n"


@pytest.mark.parametrize(("name", "value"), [("OMP_NUM_THREADS", "3"), ("PYTHONHASHSEED", "5"), ("PYTHONPATH", "/x")])
def test_what_libraries_read_when_they_are_loaded_starts_python_itself(name: str, value: str, tmp_path: Path) -> None:
    path = written(TELLS, tmp_path)
    done = subprocess.run(
        command(path), env={**os.environ, name: value}, input="", capture_output=True, text=True, check=True
    )
    assert not json.loads(done.stdout)["warm"]
