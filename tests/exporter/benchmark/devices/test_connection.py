"""What a device says of itself, and what ssh is told; `test_ssh.py` has it all with a real sshd."""

import pytest

from slide_export.benchmark.devices import connection
from slide_export.benchmark.devices.address import parse
from slide_export.benchmark.devices.connection import Connection, Facts

SAID = {
    "directory": "/tmp/x",
    "python": "3 11",
    "free": "/dev/sda1 61202244 1 41943040 60% /",
    "rsync": "/usr/bin/rsync",
}


def test_facts_are_read_from_what_df_and_python_print() -> None:
    assert connection._facts(SAID) == Facts("/tmp/x", (3, 11), 41943040, True)


def test_what_a_device_does_not_tell_is_unknown() -> None:
    assert connection._facts({"directory": "/tmp/x", "python": "", "free": "", "rsync": ""}) == Facts(
        "/tmp/x", None, None, False
    )


def test_ssh_never_asks_and_keeps_its_own_check_of_host_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIDE_EXPORT_SSH", "-i '/a key' -v")
    words = Connection(parse("ssh://me@pi:2222")).ssh()
    assert words[:6] == ["ssh", "-T", "-p", "2222", "-i", "/a key"]
    assert "BatchMode=yes" in words
    assert not any("StrictHostKeyChecking" in word for word in words)
