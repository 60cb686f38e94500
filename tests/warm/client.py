"""Stand in for a process: hand everything of this one to the server, and end as its fork does.

Runs without `site` and imports little, for it is what is started in the place of Python with torch.
"""

import array
import json
import os
import signal
import socket
import sys
import time

SOCKET = "SLIDE_EXPORT_TESTS_WARM"
OWN = ("OMP_NUM_THREADS", "PYTHONPATH", "PYTHONHASHSEED", "LD_PRELOAD", "LD_LIBRARY_PATH")
"""What libraries read when they are loaded: a fork of a server with other values would not know of it."""
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
START_S = 120.0


def connected() -> socket.socket:
    """The server, as soon as it listens."""
    end = time.monotonic() + START_S
    while True:
        server = socket.socket(socket.AF_UNIX)
        try:
            server.connect(os.environ[SOCKET])
            return server
        except (FileNotFoundError, ConnectionRefusedError):
            server.close()
            if time.monotonic() > end:
                raise
            time.sleep(0.02)


def cold() -> None:
    """Be Python itself."""
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])


def main() -> int:
    """Exit status of the fork."""
    if SOCKET not in os.environ:
        cold()
    server = connected()
    child, waiting = 0, []

    def pass_on(number: int, _: object) -> None:
        """Send the fork a signal, or keep it until the server has said which it is: the fork may run before."""
        os.kill(child, number) if child else waiting.append(number)

    for number in PASSED_ON:
        signal.signal(number, pass_on)
    said = json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ), "directory": os.getcwd()}).encode()  # noqa: PTH109  # no pathlib here
    streams = array.array("i", [0, 1, 2])
    server.sendmsg([len(said).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
    server.sendall(said)
    answers = server.makefile("r")
    child = int(answers.readline())
    for number in waiting:
        if not child:
            signal.signal(number, signal.SIG_DFL)
        os.kill(child or os.getpid(), number)
    if not child:  # its environment is another
        cold()
    for stream in streams:  # the fork has them: who reads from a pipe sees its end with the fork's
        os.close(stream)
    return int(answers.readline())


if __name__ == "__main__":
    status = main()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL) if -status not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(os.getpid(), -status)
    os._exit(status)
