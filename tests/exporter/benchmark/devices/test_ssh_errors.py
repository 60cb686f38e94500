"""What other programs say, as they say it, becomes one sentence."""

import pytest

from slide_export.benchmark.devices import ssh_errors as trouble

NO_INDEX = "ERROR: Could not find a version that satisfies the requirement onnxruntime (from versions: none)"
RETRIES = (
    "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(\"HTTPSConnection(): Failed to "
    "establish a new connection: [Errno 101] Network is unreachable\")': /simple/onnxruntime/\n"
)
CHANGED = "@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.\n"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (CHANGED, "found another one"),
        ("Host key verification failed.\n", "found none in known_hosts"),
        ("me@pi: Permission denied (publickey,password).\n", "found every one refused"),
        ("ssh: Could not resolve hostname pi: Name or service not known\n", "found no address for its name"),
        ("ssh: connect to host pi port 22: No route to host\n", "found none that answers: ssh: connect to host pi"),
        ("kex_exchange_identification: Connection closed by remote host\n", "found none that answers"),
        ("Bad configuration option: foo\n", "found it refused: Bad configuration option: foo"),
        ("", "no reason given"),
    ],
)
def test_why_a_connection_was_not_made(said: str, expected: str) -> None:
    assert expected in str(trouble.connecting("ssh://pi", said))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (NO_INDEX, "no wheel of it for this machine and Python"),
        (RETRIES + NO_INDEX, "its package index not reached"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "found it full"),
        ("ERROR: something else\nnote: more", "found ERROR: something else"),
    ],
)
def test_why_pip_could_not_install(said: str, expected: str) -> None:
    assert expected in str(trouble.installing("ssh://pi", "/tmp/x", ["onnxruntime"], said))


def test_a_dropped_connection_says_how_and_what_becomes_of_the_device() -> None:
    said = "Timeout, server pi not responding.\n"
    sentence = str(trouble.dropped("ssh://pi", said, "/tmp/x"))
    assert "found the connection dropped (Timeout, server pi not responding.)" in sentence
    assert "the device itself removes /tmp/x" in sentence
    assert "/tmp/x stays on the device" in str(trouble.dropped("ssh://pi", said, "/tmp/x", kept=True))
