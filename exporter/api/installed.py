"""What each target can do on this machine, and what it needs installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slide_export.backends.interface import Availability
    from slide_export.backends.isolation import KeptEnvironment
    from slide_export.core.progress import Progress


def targets() -> tuple[Availability, ...]:
    """What each target can do on this machine."""
    from slide_export.backends import registry as backends

    return tuple(backends.availability(name) for name in backends.names())


def install_target(target: str, *, step: Progress | None = None) -> Path:
    """Make the environment of its own that a target is converted in, or find it made; its directory.

    Raises:
        RequestError: there is no such target, or it needs no environment of its own.
        BackendUnavailable: there is no pip, or it cannot install what is needed.
        WriteError: the cache cannot be written.
    """
    from slide_export.backends import isolation, optional
    from slide_export.backends import registry as backends
    from slide_export.core.progress import no_progress

    environment = isolation.refuse_none(target, optional.environment(backends.load(target)))
    return isolation.install(target, environment, step or no_progress)


def uninstall_target(target: str) -> tuple[KeptEnvironment, ...]:
    """Remove every environment that was made for a target; those that were.

    Raises:
        RequestError: there is no such target, or it needs no environment of its own.
        WriteError: one cannot be removed.
    """
    from slide_export.backends import isolation, optional
    from slide_export.backends import registry as backends

    isolation.refuse_none(target, optional.environment(backends.load(target)))
    return isolation.uninstall(target)


def environments() -> tuple[KeptEnvironment, ...]:
    """What is kept of environments of targets: where, how large, and whether this installation uses it."""
    from slide_export.backends import isolation, optional
    from slide_export.backends import registry as backends

    needed = {name: optional.environment(backends.load(name)) for name in backends.names()}
    return isolation.kept({name: one for name, one in needed.items() if one is not None})
