"""What ssh, scp, rsync, venv and pip say -> one sentence of ours.

The patterns are texts of these programs' sources, seen with OpenSSH 9.2, rsync 3.2 and pip 26.
"""

import re
from collections.abc import Iterable

from slide_export.benchmark.process import last
from slide_export.core.errors import DeviceError

FULL = re.compile(r"No space left on device|\[Errno 28\]|Disk quota exceeded")

CONNECTING = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED|host key .* has changed|Host key for .* has changed",
        "expected the host key that known_hosts has for {url}, found another one: if the device was set up anew, "
        "remove the old key with ssh-keygen -R, else do not connect",
    ),
    (
        r"Host key verification failed|No .* host key is known for",
        "expected a known host key of {url}, found none in known_hosts: connect once with ssh, compare its fingerprint "
        "with the device's and accept it",
    ),
    (
        r"Permission denied|Too many authentication failures|No supported authentication methods",
        "expected {url} to accept a key of ssh's agent or configuration, found every one refused: try ssh with -o "
        "BatchMode=yes until it enters without asking",
    ),
    (r"Could not resolve hostname", "expected a host at {url}, found no address for its name"),
    (
        r"Connection refused|No route to host|Network is unreachable|[Cc]onnection timed out|Operation timed out|"
        r"banner exchange|Connection (closed|reset) by",
        "expected an ssh server at {url}, found none that answers: {said}",
    ),
)


def connecting(url: str, said: str) -> DeviceError:
    """Returns why a connection was not made, from what ssh wrote to standard error."""
    for pattern, sentence in CONNECTING:
        if re.search(pattern, said):
            return DeviceError(sentence.format(url=url, said=last(said.splitlines())))
    return DeviceError(f"expected ssh to reach {url}, found it refused: {last(said.splitlines()) or 'no reason given'}")


def dropped(url: str, said: str, directory: str, *, kept: bool = False) -> DeviceError:
    """Returns what to say of a connection that was lost.

    Args:
        kept: the directory stays on the device.
    """
    how = last(said.splitlines())
    becomes = f"{directory} stays on the device" if kept else f"the device itself removes {directory}"
    return DeviceError(
        f"expected {url} to stay connected, found the connection dropped{f' ({how})' if how else ''}: nothing was "
        f"written here, and {becomes}; try again"
    )


def full(url: str, directory: str, needed_mib: float | None = None) -> DeviceError:
    """Returns what to say of a device without room."""
    room = "enough room" if needed_mib is None else f"{needed_mib:.0f} MiB free"
    return DeviceError(
        f"expected {room} in {directory} on {url}, found it full: free some, or name a directory on another disk, "
        "ssh://host/directory"
    )


def installing(url: str, directory: str, wanted: Iterable[str], said: str) -> DeviceError:
    """Returns why pip could not install."""
    names = " and ".join(wanted)
    if FULL.search(said):
        return full(url, directory)
    if re.search(r"NewConnectionError|NameResolutionError|ConnectTimeout|ProxyError|SSLError|Read timed out", said):
        reason = "its package index not reached: connect the device to the network"
    elif re.search(r"No matching distribution|Could not find a version", said):
        reason = "no wheel of it for this machine and Python"
    else:
        reason = last(line for line in said.splitlines() if "ERROR" in line) or "pip failed"
    return DeviceError(f"expected pip to install {names} on {url}, found {reason}; or install it there yourself")
