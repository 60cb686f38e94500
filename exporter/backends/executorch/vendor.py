"""Imports and calls of ExecuTorch and torchao without what they say of themselves."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator

LOGGERS = ("executorch", "torchao", "root", "torch._export", "torch.utils._pytree", "torch.fx")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep ExecuTorch's and torchao's advice on their own parts off the terminal."""
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)  # an error is raised as well
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
