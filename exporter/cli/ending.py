"""How the process ends: by a signal, by a reader of its output that left, by a terminal that closed."""

from __future__ import annotations

import codecs
import errno
import io
import signal
import sys
import time
from types import FrameType
from typing import Any, TextIO

from slide_export.core.errors import UNWRITABLE, WORST_FIRST, worst

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
SAME_WISH_S = 3.0  # a signal so soon after one that is obeyed asks for nothing more: what is half written is removed
ENCODING_ERRORS = "slide_export.replace"


class Stopped(KeyboardInterrupt):
    """A signal that asks the process to end: whatever is being written is removed on its way.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def obey_signals() -> None:
    """Turn the signals that ask for an end into `Stopped`; one that the parent has us ignore (nohup) stays ignored."""
    last = -SAME_WISH_S

    def stop(number: int, _: FrameType | None) -> None:
        """Raise `Stopped` in the main thread, once for signals that come together."""
        nonlocal last
        now = time.monotonic()
        if now - last >= SAME_WISH_S:
            last = now
            raise Stopped(number)

    for one in SIGNALS:
        if signal.getsignal(one) != signal.SIG_IGN:
            signal.signal(one, stop)


def signal_of(error: BaseException | None) -> int | None:
    """The signal that an error came of, also where it was raised in ending what the signal interrupted."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error.number if isinstance(error, Stopped) else signal.SIGINT
        error = error.__context__
    return None


class Unread(io.FileIO):
    """A stream that loses what cannot be written: the reader left, the terminal closed, the disk is full.

    Attributes:
        error: what the system said first.
    """

    error: OSError | None = None

    def write(self, content: Any) -> int:
        """Write, or lose what cannot be written."""
        try:
            return super().write(content)
        except OSError as error:
            self.error = self.error or error
            return len(memoryview(content))


def prepare_streams() -> Unread | None:
    """Let nothing that is printed end the work: neither a reader that left nor a character that the encoding lacks.

    Standard output as it is from now on; None where it is closed.
    """
    codecs.register_error(ENCODING_ERRORS, _replaced)
    sys.stdout, output = _lenient(sys.stdout)
    sys.stderr, _ = _lenient(sys.stderr)
    return output


def _lenient(stream: TextIO) -> tuple[TextIO, Unread | None]:
    if not isinstance(stream, io.TextIOWrapper):
        return stream, None
    raw = Unread(stream.fileno(), "w", closefd=False)
    lenient = io.TextIOWrapper(
        io.BufferedWriter(raw), stream.encoding, ENCODING_ERRORS, line_buffering=stream.line_buffering
    )
    return lenient, raw


def with_output(code: int, output: Unread | None) -> int:
    """The exit code, once all is printed: 74 says that the result was not, a failed proof or a crash weigh more.

    A reader that left is no failure: `slide-export … | head -1`.
    """
    if output is None:
        return code
    sys.stdout.flush()
    if output.error is None or output.error.errno == errno.EPIPE:
        return code
    print(f"error: expected to write to standard output, the system says: {output.error.strerror}", file=sys.stderr)
    return worst((code, UNWRITABLE)) if code in WORST_FIRST else code


def _replaced(error: UnicodeError) -> tuple[str | bytes, int]:
    """The bytes of a file's name that are no text, and a question mark for a character that the encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    try:
        return lost.encode("utf-8", "surrogateescape") if all(map(_is_byte, lost)) else "?" * len(lost), error.end
    except UnicodeEncodeError:
        return "?" * len(lost), error.end


def _is_byte(character: str) -> bool:
    return 0xDC80 <= ord(character) <= 0xDCFF
