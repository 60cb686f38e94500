"""One export: resolve, prepare, search where the precision is mixed, finish."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slide_export.bundle.store import Bundle
from slide_export.core.progress import Progress, no_progress
from slide_export.core.request import ExportRequest

from .resolve import Plan, resolve

if TYPE_CHECKING:
    from .prepare import Prepared


def export(request: ExportRequest, step: Progress = no_progress, jobs: int = 1) -> Bundle:
    """Make, prove and write the bundle of a request.

    Args:
        jobs: processes that its accuracy may be measured by.

    Raises:
        GateError: the artifact is not the PyTorch model or loses too much; it is kept beside as `*.rejected`.
        SlideExportError: see `resolve`, `prepare`, `search` and `finish`.
    """
    plan = resolve(request)  # refuses before torch is imported
    from .prepare import prepare

    return complete(plan, prepare(plan.source, step), step, jobs)


def complete(plan: Plan, prepared: Prepared, step: Progress = no_progress, jobs: int = 1) -> Bundle:
    """Finish a plan, after the search where its precision is mixed; raises as `export` does."""
    from .finish import finish
    from .mixed import search

    plan = plan.protecting(prepared.served.trained.float32)
    if plan.search:
        plan = plan.keeping(search(plan, prepared, step))
    return finish(plan, prepared, step, jobs)
