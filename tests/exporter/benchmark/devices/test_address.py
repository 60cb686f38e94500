"""What a device is called, and what it must not be called."""

import pytest

from slide_export.benchmark.devices.address import Address, parse
from slide_export.core.errors import RequestError


@pytest.mark.parametrize(
    ("url", "expected", "login"),
    [
        ("ssh://pi", Address("pi", None, None, ""), "pi"),
        ("ssh://me@pi.local:2222", Address("pi.local", "me", 2222, ""), "me@pi.local"),
        ("ssh://me@10.0.0.7/mnt/big/", Address("10.0.0.7", "me", None, "/mnt/big"), "me@10.0.0.7"),
        ("ssh://[fe80::1]:22", Address("fe80::1", None, 22, ""), "fe80::1"),
        ("ssh://pi@MyPhone", Address("MyPhone", "pi", None, ""), "pi@MyPhone"),
    ],
)
def test_a_url_names_a_device(url: str, expected: Address, login: str) -> None:
    assert parse(url) == expected
    assert parse(url).login == login
    assert parse(url).url == url.rstrip("/")


@pytest.mark.parametrize(
    "url",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://-l@pi",
        "ssh://pi:port",
        "ssh://pi:99999",
        "ssh://pi/a b",
        "ssh://pi/$(id)",
        "ssh://pi?x=1",
        "ssh://p;i",
        "ssh://p\ti",
        "ssh://pi\n",
        "ssh://pi/a\rb",
        "\x1bssh://pi",
        "ssh://[fe80::1",
        "ssh://[fe80::1]x",
    ],
)
def test_what_ssh_or_a_shell_could_misread_is_refused(url: str) -> None:
    with pytest.raises(RequestError, match="expected a device like ssh://"):
        parse(url)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(RequestError, match="found one with a password: use a key") as refusal:
        parse("ssh://me:secret@pi")
    assert "secret" not in str(refusal.value)
