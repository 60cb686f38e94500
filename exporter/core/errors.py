"""Everything slide-export raises on purpose.

SlideExportError
├── RequestError         the command asks for something that does not exist or contradicts itself   exit 2
├── CheckpointError      the file is no checkpoint of a known model, or not a sound one              exit 2
├── FusionError          the two convolution paths cannot become one                                 exit 2
├── LoweringError        a form or a backend cannot express the model                                exit 2
├── ExportError          PyTorch to ONNX failed, or the graph breaks a rule                          exit 2
├── CalibrationError     the images cannot be read or are not fit for use                            exit 2
├── BundleError          a bundle is incomplete, altered or in the way                               exit 2
├── StoreError           an artifact store lacks content, or has other content under its name        exit 2
├── GateError            the artifact was made, and must not ship                                    exit 1
│   ├── ParityError      it does not equal the PyTorch model
│   ├── PrecisionError   it is not in the precision that was asked for
│   ├── CrashError       it crashes the runtime that a proof runs it with
│   └── AccuracyError    it loses more accuracy than was allowed
├── MeasurementError     a process of ours crashed: one that measures, or exports beside others      exit 70
├── WriteError           a place cannot be written: full, read-only, failing or not to be reached     exit 74
├── TimeLimitError       a process of ours took longer than it was given                             exit 75
├── BackendUnavailable   the target's runtime is not installed here                                  exit 3
└── DeviceError          a device elsewhere is not reached, or is not fit                            exit 3

Each message says what was expected, what was found and what to do.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from .text import foreign

CRASHED = 70  # sysexits.h EX_SOFTWARE: a process died, or met a fault of ours
UNWRITABLE = 74  # EX_IOERR
OUT_OF_TIME = 75  # EX_TEMPFAIL: the same again may succeed
WORST_FIRST = (1, CRASHED, 2, UNWRITABLE, OUT_OF_TIME, 3, 0)


def worst(exit_codes: Iterable[int]) -> int:
    """Exit code that tells the most: a failed proof before a crash before the rest."""
    return min(exit_codes, key=WORST_FIRST.index, default=0)


OPTION = re.compile("\x02(\\w+)(?:=(\\w+))?\x03")


def option(name: str, flag: str = "") -> str:
    """Mark a word of a message as an option, for `SlideExportError` to write as its caller knows it.

    Args:
        name: as Python knows it.
        flag: as the command line does, where that is another word.

    Example:
        `RequestError(f"{option('keep_fp32')} needs a smaller precision")` reads "keep_fp32 needs …" from Python and
        "--keep-fp32 needs …" on the command line.
    """
    return f"\x02{name}={flag}\x03" if flag else f"\x02{name}\x03"


HEAD, TAIL = 1500, 500
"""Letters of a message that is longer than both: what was found begins it, what to do ends it."""


def _printable(message: str) -> str:
    """A message on one line and of bounded length: what it quotes of a file may hold anything."""
    written = foreign(_without_middle(message), most=10 * len(message) + 10)  # an escaped letter takes ten at most
    return _without_middle(written)


def _without_middle(message: str) -> str:
    return message if len(message) <= HEAD + TAIL + 3 else f"{message[:HEAD]} … {message[-TAIL:]}"


class SlideExportError(Exception):
    """Base of all of them; `exit_code` is what the command line ends with.

    Whatever a message quotes, it is one line without control characters: terminals and CI logs obey those.
    """

    exit_code: ClassVar[int] = 2

    def __str__(self) -> str:
        return _printable(OPTION.sub(r"\1", super().__str__()))

    @property
    def on_command_line(self) -> str:
        """The message with options as flags: `keep_fp32` is `--keep-fp32`."""
        flags = OPTION.sub(lambda match: "--" + (match[2] or match[1]).replace("_", "-"), super().__str__())
        return _printable(flags)


def as_answer(error: SlideExportError) -> dict[str, str]:
    """An error as a process tells it to another: its options are still marked."""
    return {"error": error.args[0], "kind": type(error).__name__}


def from_answer(answer: Mapping[str, Any]) -> SlideExportError:
    """The error that another process has told."""
    found: SlideExportError = globals()[answer["kind"]](answer["error"])
    return found


class RequestError(SlideExportError):
    """The request itself is wrong: an unknown name, or options that contradict each other."""


class CheckpointError(SlideExportError):
    """The file is no checkpoint of a known model, or its tensors are not sound."""


class FusionError(SlideExportError):
    """The two convolution paths cannot become one."""


class LoweringError(SlideExportError):
    """A form or a backend cannot express the model."""


class ExportError(SlideExportError):
    """PyTorch to ONNX failed, or the graph breaks a rule that the targets need."""


class CalibrationError(SlideExportError):
    """The images cannot be read, or are not fit for use."""


class BundleError(SlideExportError):
    """A bundle is incomplete, was altered, or stands in the way."""


class StoreError(SlideExportError):
    """An artifact store lacks what was asked of it, or has other content under its name."""


class GateError(SlideExportError):
    """The artifact was made and must not ship; it is kept beside its place as `*.rejected`."""

    exit_code = 1


class ParityError(GateError):
    """The artifact does not equal the PyTorch model."""


class PrecisionError(GateError):
    """The artifact is not in the precision that was asked for."""


class CrashError(GateError):
    """The artifact crashes the runtime that runs it for a proof."""


class AccuracyError(GateError):
    """The artifact loses more accuracy than was allowed."""


class MeasurementError(SlideExportError):
    """A process of ours crashed: one that measures, or exports beside others or within a time."""

    exit_code = CRASHED


class WriteError(SlideExportError):
    """A place cannot be written: it is full or read-only, its disk fails, or it is elsewhere and not reached."""

    exit_code = UNWRITABLE


class TimeLimitError(SlideExportError):
    """A process of ours took longer than it was given, and was stopped."""

    exit_code = OUT_OF_TIME


class BackendUnavailable(SlideExportError):
    """The target's runtime is not installed on this machine."""

    exit_code = 3


class DeviceError(SlideExportError):
    """A device elsewhere cannot be reached, was lost, or lacks what a measurement needs."""

    exit_code = 3
