"""Renames in one step that Python's `os` lacks: two paths change places; nothing is replaced.

Source: renameat2(2) of Linux, with the flags of include/uapi/linux/fs.h; renamex_np(2) of macOS, with those of
sys/stdio.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

AT_FDCWD = -100
NO_REPLACE, EXCHANGE = (4, 2) if sys.platform == "darwin" else (1, 2)
UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP})
"""What a system or file system answers that has no such rename."""


def exchange(one: Path, other: Path) -> bool:
    """Let two paths change places; False where the file system cannot, and nothing was done.

    Raises:
        OSError: it can, and something else is in the way.
    """
    return _rename(one, other, EXCHANGE)


def to_free_place(source: Path, target: Path) -> None:
    """Rename to a place where nothing is.

    Raises:
        FileExistsError: something stands there, an empty directory too.
        OSError: the system does not let it.
    """
    if _rename(source, target, NO_REPLACE):
        return
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


def _rename(source: Path, target: Path, flag: int) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    paths = os.fsencode(source), os.fsencode(target)
    if hasattr(libc, "renameat2"):
        failed = libc.renameat2(AT_FDCWD, paths[0], AT_FDCWD, paths[1], ctypes.c_uint(flag))
    elif hasattr(libc, "renamex_np"):
        failed = libc.renamex_np(*paths, ctypes.c_uint(flag))
    else:
        return False
    code = ctypes.get_errno()
    if failed and code not in UNSUPPORTED:
        raise OSError(code, os.strerror(code), str(source), None, str(target))
    return not failed
