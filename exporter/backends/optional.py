"""The optional parts of a backend, each with what holds where a backend leaves it out.

A verb that cannot do without a part refuses by name:
"diagnose is not available for X: it shows no intermediate values".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from slide_export.core.artifact import DtypeStats
from slide_export.core.errors import RequestError, option
from slide_export.core.graph import Value

from .interface import (
    Backend,
    CountsDtypes,
    IsolatedEnvironment,
    Profiles,
    ReadsStored,
    Session,
    ShowsValues,
    TellsPlainLoad,
)

if TYPE_CHECKING:
    from slide_export.core.artifact import Feeds
    from slide_export.core.lint import LintFact
    from slide_export.core.measurement import ModuleTime
    from slide_export.core.plain_load import PlainLoad
    from slide_export.core.stored import StoredConstant
    from slide_export.native.library import Runtime

COMMON_FORM = "taps"
"""The form of slide attention for a target that names none: k*k depthwise convolutions of multiplier 1, which every
runtime has a tuned kernel for."""

COMMON_SAMPLING = "hats"
"""The form of deformable attention for a target that names none: matrix products, which every target has."""


def name_of(backend: Backend) -> str:
    """Name of the target, the word after `--target`."""
    return backend.__name__.rpartition(".")[2]


def unavailable_reason(backend: Backend) -> str | None:
    """Why artifacts cannot run on this machine, None where they can; the runtime is installed."""
    ask = getattr(backend, "unavailable_reason", None)
    return None if ask is None else cast(str | None, ask())


def precision_obstacle(backend: Backend, precision: str) -> str | None:
    """Why this machine does not compute in one of the backend's precisions, None where it does."""
    ask = getattr(backend, "precision_obstacle", None)
    return None if ask is None else cast(str | None, ask(precision))


def substitute_runtime(backend: Backend) -> str | None:
    """Name of the evaluator used instead of the target's runtime and why its timing does not count, or None."""
    ask = getattr(backend, "substitute_runtime", None)
    return None if ask is None else cast(str | None, ask())


def runtime_modules(backend: Backend) -> tuple[str, ...]:
    """Modules that a session imports; a measurement imports them apart from loading."""
    return cast(tuple[str, ...], getattr(backend, "RUNTIME", ()))


def slow_imports(backend: Backend) -> tuple[str, ...]:
    """Modules that take seconds to import: who starts many jobs imports them once, before it forks.

    Not every runtime gains by it: a process that was forked after ONNX Runtime's import takes 0.35 s longer.
    """
    return cast(tuple[str, ...], getattr(backend, "SLOW_IMPORTS", ()))


def device_distributions(backend: Backend) -> tuple[str, ...]:
    """Distributions, called as their modules are, that run an artifact on a device; empty where none do."""
    return cast(tuple[str, ...], getattr(backend, "DEVICE", ()))


def default_form(backend: Backend) -> str:
    """Form of slide attention that `auto` stands for."""
    return cast(str, getattr(backend, "DEFAULT_FORM", COMMON_FORM))


def default_sampling(backend: Backend) -> str:
    """Form of deformable attention that `auto` stands for."""
    return cast(str, getattr(backend, "DEFAULT_SAMPLING", COMMON_SAMPLING))


def suppresses(backend: Backend) -> bool:
    """Whether the target runs NonMaxSuppression, of which the data decide how much it gives."""
    return bool(getattr(backend, "SUPPRESSES", False))


def convolves_by_winograd(backend: Backend) -> bool:
    """Whether dense 3x3 convolutions are computed by Winograd's algorithm, whose rounding is larger than a sum's."""
    return bool(getattr(backend, "WINOGRAD", False))


def install_command(backend: Backend) -> str:
    """Command that installs what the backend needs."""
    return cast(str, getattr(backend, "INSTALL", f'pip install "slide-export[{name_of(backend)}]"'))


def environment(backend: Backend) -> IsolatedEnvironment | None:
    """Packages that clash with ours and that `lower` needs, None where it needs none."""
    return cast("IsolatedEnvironment | None", getattr(backend, "ENVIRONMENT", None))


def fixed_batches(backend: Backend) -> range | None:
    """Batch sizes that an artifact may be made for, one at a time; None where it takes any, and a dynamic one."""
    return cast("range | None", getattr(backend, "FIXED_BATCHES", None))


def one_by_one(backend: Backend) -> bool:
    """Whether artifacts have no batch axis, so that a session runs images one by one, as many as there are."""
    return bool(getattr(backend, "ONE_BY_ONE", False))


def refuse_batch(backend: Backend, batch: int | None) -> None:
    """Refuse a batch that the backend makes no artifact for.

    Args:
        batch: the fixed size that is asked for, None for a dynamic one.

    Raises:
        RequestError: names those that it does.
    """
    sizes, name = fixed_batches(backend), name_of(backend)
    if one_by_one(backend) and batch not in (None, 1):
        raise RequestError(
            f"{name} has no batch axis: expected {option('batch')} of 1, or none, for images that go through one by "
            f"one; found {batch}"
        )
    if sizes is None or batch in sizes:
        return
    most = sizes[-1]
    able = f"one fixed batch size, 1 to {most}" if most > 1 else "one image at a time"
    found = "a dynamic batch" if batch is None else f"a batch of {batch}"
    what = "1" if most == 1 else "one"
    raise RequestError(f"{name} takes {able}, found {found}: give {what} with {option('batch')}")


def native_precisions(backend: Backend) -> tuple[str, ...]:
    """Precisions in which form native can be had; empty where the target loads no operator of ours."""
    return cast("tuple[str, ...]", getattr(backend, "NATIVE_PRECISIONS", ()))


def native_runtime(backend: Backend, options: Mapping[str, str]) -> Runtime:
    """What the operator of form native is built against, of a backend that loads it.

    Raises:
        BackendUnavailable: it is not here.
    """
    return cast("Runtime", backend.native_runtime(options))  # type: ignore[attr-defined]  # optional


def lint_facts(backend: Backend) -> tuple[LintFact, ...]:
    """Faults and chances that concern this target alone."""
    return cast("tuple[LintFact, ...]", getattr(backend, "LINT", ()))


def refuse_settings(backend: Backend, settings: Mapping[str, Any], options: Mapping[str, str] | None) -> None:
    """Refuse a manifest's settings that this backend never writes, above all those that name other files.

    Args:
        options: of the backend, as the export was asked for them; None where an older bundle does not tell.

    Raises:
        FieldError: names the setting.
    """
    refuse = getattr(backend, "refuse_settings", None)
    if refuse is not None:
        refuse(settings, options)


def harmless_settings(backend: Backend, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings without those by which a runtime reads and writes outside of the bundle, a cache above all."""
    without = getattr(backend, "harmless_settings", None)
    return settings if without is None else cast("Mapping[str, Any]", without(settings))


def companions(backend: Backend, path: Path) -> tuple[Path, ...]:
    """Files beside the artifact at `path` that its runtime reads with it, whether or not they are there.

    Raises:
        SlideExportError: the artifact cannot be read.
    """
    found = getattr(backend, "companions", None)
    return () if found is None else cast("tuple[Path, ...]", found(path))


def dtype_stats(backend: Backend, path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Element types that the saved artifact at `path` stores and computes in; not `counted` where the backend cannot.

    Raises:
        SlideExportError: the artifact cannot be read.
    """
    if not isinstance(backend, CountsDtypes):
        return DtypeStats({}, {}, fixed=False, counted=False)
    return backend.dtype_stats(path, settings)


def stored(backend: Backend, path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant] | None:
    """What the saved artifact at `path` stores; None where the backend does not read it back."""
    return backend.stored(path, settings) if isinstance(backend, ReadsStored) else None


def plain_load(backend: Backend, path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad | None:
    """What a load without settings computes beside what was `proved`; None where the backend does not know."""
    return backend.plain_load(path, settings, proved) if isinstance(backend, TellsPlainLoad) else None


def profile(
    backend: Backend, path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int
) -> tuple[ModuleTime, ...]:
    """Time of each operation by the runtime's own profiler, in the order of execution.

    Raises:
        RequestError: the runtime has no profiler, or none that can be asked here.
    """
    if not isinstance(backend, Profiles):
        raise RequestError(f"a profile is not available for {name_of(backend)}: its backend times no single operations")
    return backend.profile(path, settings, feeds, calls)


def values(backend: Backend, path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Every value that an artifact computes from its inputs, in the order of execution.

    Raises:
        RequestError: the backend shows none.
    """
    return _showing(backend).values(path, settings)


def intermediates(backend: Backend, path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Session:
    """Session that gives these values beside the outputs, or instead.

    Raises:
        RequestError: the backend shows none.
    """
    return _showing(backend).intermediates(path, settings, names)


def _showing(backend: Backend) -> ShowsValues:
    if not isinstance(backend, ShowsValues):
        raise RequestError(f"diagnose is not available for {name_of(backend)}: it shows no intermediate values")
    return backend
