"""What stages log, beside the spinner of the one that runs."""

from __future__ import annotations

import logging

from rich.console import Console
from rich.status import Status

from .literal import SENTENCE, literal


class LogLines(logging.Handler):
    """What a stage logs: its progress beside the spinner, its warnings as lines that stay."""

    def __init__(self, console: Console, status: Status) -> None:
        super().__init__(logging.INFO)
        self._console, self._status, self._log = console, status, logging.getLogger("slide_export")

    def attach(self) -> None:
        """Listen to the log from level INFO on."""
        self._level = self._log.level
        self._log.setLevel(logging.INFO)
        self._log.addHandler(self)

    def detach(self) -> None:
        """Stop listening and restore the log's level."""
        self._log.removeHandler(self)
        self._log.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        """Print a warning; show anything less as the status of the step."""
        if record.levelno >= logging.WARNING:
            self._console.print(f" [yellow]![/] {literal(record.getMessage(), SENTENCE)}")
            if record.exc_info:
                lines = logging.Formatter().formatException(record.exc_info).splitlines()
                self._console.print("\n".join(map(literal, lines)))
        else:
            self._status.update(literal(record.getMessage()))
