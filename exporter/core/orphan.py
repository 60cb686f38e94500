"""A process that ends with its parent, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # Source: Linux include/uapi/linux/prctl.h


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent is gone; where it cannot (other than Linux), do nothing.

    Args:
        parent: its number, as the parent itself knows it: it may have ended before this call.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
