"""Environments of targets in words: what one takes before it is made, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slide_export.backends import isolation, optional
from slide_export.backends import registry as backends

if TYPE_CHECKING:
    from slide_export.backends.isolation import KeptEnvironment

GIB = 1 << 30


def question(target: str) -> str | None:
    """What the install of a target's environment takes, and where; None where it is made already.

    Raises:
        RequestError: there is no such target, or it needs no environment of its own.
    """
    environment = isolation.refuse_none(target, optional.environment(backends.load(target)))
    if isolation.installed(target, environment) is not None:
        return None
    root = isolation.root()
    return (
        f"{target} is converted in an environment of its own, since {environment.why}: about "
        f"{environment.download_mib / 1024:.1f} GiB to download and {environment.installed_mib / 1024:.1f} GiB in "
        f"{root} ({isolation.free_mib(root) / 1024:.1f} GiB free)."
    )


def sentence(kept: KeptEnvironment) -> str:
    """What is kept, where and how large."""
    unused = "" if kept.current else ", which this installation does not use: made by another version or Python"
    return f"{kept.path}, {kept.bytes / GIB:.1f} GiB{unused}"
