"""The backends: the modules of this package, what they need, what they can be told.

A single file and a folder are found alike, in every directory of the package's `__path__`.
"""

import importlib
import importlib.metadata
import pkgutil
from collections.abc import Mapping
from typing import cast

from slide_export import backends
from slide_export.core.errors import BackendUnavailable, RequestError

from . import optional
from .interface import Availability, Backend

OURS = frozenset({"interface", "isolation", "native_text", "optional", "profile", "registry", "script"})
"""Modules of the package that are no targets."""


def names() -> tuple[str, ...]:
    """Every target, in alphabetical order."""
    found = (module.name for module in pkgutil.iter_modules(backends.__path__))
    return tuple(sorted(name for name in found if name not in OURS and not name.startswith("_")))


def load(target: str) -> Backend:
    """The backend of a target, whether or not its runtime is installed.

    Raises:
        RequestError: there is no such target.
    """
    if target not in names():
        raise RequestError(f"expected a target of {', '.join(names())}; found {target!r}")
    return cast(Backend, importlib.import_module(f"{backends.__name__}.{target}"))


def require(target: str, precision: str) -> Backend:
    """The backend of a target whose artifacts run here, for a precision that it has and this machine computes in.

    Raises:
        RequestError: there is no such target, or it lacks the precision.
        BackendUnavailable: its runtime is not installed, or the processor does not compute in the precision.
    """
    backend, here = load(target), availability(target)
    refuse_unknown_precision(target, precision)
    if not here.runs:
        missing = " and ".join(here.missing)
        raise BackendUnavailable(f"expected {missing} for the target {target}, found it not installed: {here.install}")
    if obstacle := optional.precision_obstacle(backend, precision):
        raise BackendUnavailable(
            f"expected a machine that computes in {precision} for {target}, found this one: {obstacle}"
        )
    return backend


def require_export(target: str, precision: str) -> Backend:
    """The backend of a target that artifacts can be made for here: `require`, and its isolated environment.

    Raises:
        RequestError, BackendUnavailable: see `require`; or its isolated environment is not made.
    """
    backend, here = require(target, precision), availability(target)
    if not here.ready:
        raise BackendUnavailable(
            f"expected the environment of its own that {target} is converted in, found it not installed: {here.install}"
        )
    return backend


def refuse_unknown_precision(target: str, precision: str) -> None:
    """Refuse a precision that a target does not have, installed here or not.

    Raises:
        RequestError: there is no such target, or it lacks the precision.
    """
    known = load(target).PRECISIONS
    if precision not in known:
        raise RequestError(f"expected a precision of {', '.join(known)} for {target}; found {precision!r}")


def default_form(target: str) -> str:
    """Form of slide attention that `auto` stands for; see `optional.default_form`."""
    return optional.default_form(load(target))


def default_sampling(target: str) -> str:
    """Form of deformable attention that `auto` stands for; see `optional.default_sampling`."""
    return optional.default_sampling(load(target))


def availability(target: str) -> Availability:
    """What is installed for a target, from the package metadata alone: nothing is imported."""
    backend = load(target)
    versions: dict[str, str] = {}
    missing = []
    for entry in backend.DISTRIBUTIONS:
        alternatives = (entry,) if isinstance(entry, str) else entry
        found = _first_installed(alternatives)
        versions |= found
        if not found:
            missing.append(alternatives[0])
    reason = "not installed" if missing else optional.unavailable_reason(backend)
    isolated, made = optional.environment(backend), None
    install, precisions = optional.install_command(backend), tuple(backend.PRECISIONS)
    if isolated is not None:
        from . import isolation  # makes environments, which a device never does

        made = isolation.installed(target, isolated) is not None
        if not made:
            install = isolation.command(target) if not missing else f"{install} && {isolation.command(target)}"
    return Availability(target, precisions, versions, tuple(missing), install, reason, backend.OPTIONS, made)


def _first_installed(alternatives: tuple[str, ...]) -> dict[str, str]:
    """The first of them that is installed, with its version; nothing where none is."""
    for distribution in alternatives:
        try:
            return {distribution: importlib.metadata.version(distribution)}
        except importlib.metadata.PackageNotFoundError:
            continue
    return {}


def complete_options(target: str, given: Mapping[str, str]) -> dict[str, str]:
    """Every option of a backend, as given or by default.

    Raises:
        RequestError: the backend has no such option, or the option no such value.
    """
    known = load(target).OPTIONS
    for name, value in given.items():
        if name not in known:
            raise RequestError(f"expected an option of {', '.join(known) or 'none'} for {target}; found {name!r}")
        if known[name].choices and value not in known[name].choices:
            raise RequestError(f"expected {name} to be one of {', '.join(known[name].choices)}; found {value!r}")
    return {name: given.get(name, option.default) for name, option in known.items()}
