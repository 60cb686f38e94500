"""One sweep from its plan's file to its end: planned, brought in line with what is there, driven."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slide_export.calibration import images as image_files
from slide_export.core.errors import RequestError, SlideExportError, option
from slide_export.core.progress import Progress, no_progress
from slide_export.pages.phrasing import count

from . import cas, resume
from . import plan as plans
from .axes import Cell, cells
from .cas import Store
from .database import Database
from .drive import Drive, DriveOptions, SweepEnd
from .engine import Engine
from .job import Job
from .jobs import Planner
from .keys import sha256_of
from .plan import Checkpoints, SweepPlan
from .sources import URL, Digests, Source, distinct, named, of_images, of_path, the_one
from .stages import STAGES
from .wishes import Wishes

DATABASE = "fleet.db"


@dataclass(frozen=True)
class SweepOptions:
    """How a plan is run.

    Attributes:
        database: None takes fleet.db beside the plan.
        retry: final states whose jobs are tried again.
        stop_after_s: no job begins later.
        resume: run a plan whose text has changed in a database that has another one.
        elsewhere: the workers are on other machines: they take files from the artifact store.
        most_gib: memory of a worker here; None where the workers say it.
    """

    database: Path | None = None
    retry: tuple[str, ...] = ()
    stop_after_s: float = float("inf")
    wait_for_workers_s: float = 600.0
    resume: bool = False
    elsewhere: bool = False
    most_gib: float | None = None


@dataclass(frozen=True)
class Planned:
    """A plan that was read: its jobs, and where its files are.

    Attributes:
        orders: what an order says of each source, by sha256.
    """

    text: str
    plan: SweepPlan
    store_url: str
    cells: tuple[Cell, ...]
    jobs: tuple[Job, ...]
    sources: Mapping[str, Source]
    orders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def count(self) -> Counter[str]:
        """How many jobs of each stage there are."""
        return Counter(job.stage for job in self.jobs)


def planned(
    text: str, plan: SweepPlan, path: Path, database: Database, options: SweepOptions, step: Progress = no_progress
) -> Planned:
    """Read everything that a plan names.

    Raises:
        RequestError: it names what is not there, or asks for what no backend offers.
    """
    beside, url = path.absolute().parent, plan.store
    if URL not in url:
        url = str(beside / url)
    store, digests = cas.open(url), Digests(database)
    with step("read what the plan names"):
        checkpoints = _checkpoints(plan, beside, digests, store)
        images_at = None if plan.images is None else the_one(plan.images, beside)
        images = None if images_at is None else of_images(images_at, digests)
        evaluation = None if plan.evaluate is None else _evaluation(the_one(plan.evaluate.images, beside), digests)
    with step("plan the jobs"):
        found = tuple(cells(plan, checkpoints, images_at))
        planner = Planner(plan, images, evaluation, options.most_gib, varied=tuple(plan.options))
        jobs = tuple(planner.jobs(found))
        _refuse_twice(jobs)
    sources = {source.sha256: source for _, source, _ in checkpoints}
    sources |= {one.sha256: one for one in (images, evaluation) if one is not None}
    return Planned(text, plan, url, found, jobs, sources)


def _refuse_twice(jobs: Sequence[Job]) -> None:
    """Refuse a plan whose entries ask for the same twice."""
    ((key, times),) = Counter(job.key for job in jobs).most_common(1)
    if times > 1:
        job = next(job for job in jobs if job.key == key)
        raise RequestError(
            f"expected each job once in a plan, found {job.stage} of {job.subject} {times} times: leave out the entry "
            "that asks for it again"
        )


def _evaluation(path: Path, digests: Digests) -> Source:
    """Images with all that stands beside them: labels, masks, lists.

    Raises:
        CalibrationError: there is no image.
    """
    if path.suffix.lower() != ".json":  # which is of a task that lists its truths
        image_files.find(path)
    return of_images(path, digests) if path.suffix.lower() == ".csv" else of_path(path, digests)


def _checkpoints(
    plan: SweepPlan, beside: Path, digests: Digests, store: Store
) -> list[tuple[str, Source, Checkpoints]]:
    """Every checkpoint with its name; the same one named twice with other options is two."""
    found: list[tuple[str, Source, Checkpoints]] = []
    for entry in plan.checkpoints:
        if URL in entry.path:
            found.append((entry.path.partition(URL)[2], digests.of_url(entry.path, store), entry))
        else:
            found += [(str(path), of_path(path, digests), entry) for path in named(entry.path, beside)]
    names = distinct([name for name, _, _ in found])
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise RequestError(f"expected each checkpoint once in a plan, found {twice[0]} twice: leave one out")
    return [(name, source, entry) for name, (_, source, entry) in zip(names, found, strict=True)]


def run(
    path: Path,
    engine: Callable[[Planned], AbstractContextManager[Engine]],
    options: SweepOptions,
    wishes: Wishes | None = None,
    told: Callable[[str, str, str], None] | None = None,
    step: Progress = no_progress,
) -> SweepEnd:
    """Run a plan to its end, or go on with it.

    Args:
        engine: opens the workers, once all that can be refused was.
        told: see `Drive`.

    Raises:
        SlideExportError: the plan, the database, the store or the scheduler does not allow it.
    """
    with planning(path, options, step) as (database, made):
        _refuse_changed(database, made, options)
        store = cas.open(made.store_url)
        store.refuse_unwritable()
        number = database.add_plan(made.text, sha256_of(made.text))
        with step(f"write down {count(len(made.jobs), 'job')}"):
            database.add_jobs(number, made.jobs)
        with step("see what is done already"):
            jobs = resume.reconcile(database, number, store, options.retry)
        numbered, order = (number, made.plan.limits), _orders(made, store, options)
        how = DriveOptions(options.stop_after_s, options.wait_for_workers_s, _by_subject(made, told))
        with nullcontext(_NoEngine()) if len(jobs.settled) == len(made.jobs) else engine(made) as workers:
            return Drive(database, numbered, workers, store, order, jobs, wishes or Wishes(), how).run()


@contextmanager
def planning(path: Path, options: SweepOptions, step: Progress) -> Iterator[tuple[Database, Planned]]:
    """A plan with its database, which is this process's until the end; of a plan that is refused none is left.

    Raises:
        RequestError: as `planned` does.
    """
    text, plan = plans.read(path)
    place = options.database or path.absolute().parent / DATABASE
    fresh, unused = not place.exists(), False
    try:
        with Database.claimed(place) as database:
            try:
                yield database, planned(text, plan, path, database, options, step)
            except SlideExportError:
                unused = fresh and database.last_plan() is None
                raise
    finally:
        if unused:
            place.unlink(missing_ok=True)


def _by_subject(made: Planned, told: Callable[[str, str, str], None] | None) -> Callable[[str, str, str], None]:
    """The listener, told stage and subject in the place of a job's key."""
    subjects = {job.key: f"{job.stage} {job.subject}" for job in made.jobs}

    def by_subject(state: str, key: str, message: str) -> None:
        """Hand one settled job on."""
        if told is not None:
            told(state, subjects.get(key, key), message)

    return by_subject


def _orders(made: Planned, store: Store, options: SweepOptions) -> Callable[[str, str], dict[str, Any]]:
    """What an order says beside what the job is: where files are, and its limits."""
    sources: dict[str, dict[str, Any]] = {}

    def source(sha256: str) -> dict[str, Any]:
        """What workers are told of a source, made once."""
        if sha256 not in sources:
            sources[sha256] = made.sources[sha256].told(store, elsewhere=options.elsewhere)
        return sources[sha256]

    def order(stage: str, spec: str) -> dict[str, Any]:
        """The rest of one order."""
        needs = made.plan.needs.get(stage)
        memory_gib = STAGES[stage].memory_gib if needs is None or needs.memory_gib is None else needs.memory_gib
        taken = {sha256: source(sha256) for sha256 in made.sources if sha256 in spec}
        return {
            "sources": taken,
            "store": made.store_url,
            "timeout_s": made.plan.limits.timeout_s,
            "memory_gib": memory_gib,
        }

    return order


def _refuse_changed(database: Database, made: Planned, options: SweepOptions) -> None:
    last = database.last_plan()
    if last is not None and last[2] != sha256_of(made.text) and not options.resume:
        raise RequestError(
            f"expected the plan that {database.path} was made for, its text has changed: {option('resume')} goes on "
            "with the new one; jobs that no longer belong to it are kept and not run"
        )


class _NoEngine:
    """For a sweep that has nothing to run."""

    def capacity(self, _classes: object) -> Any:
        """Nothing."""
        raise AssertionError("a finished sweep asks for no workers")

    def submit(self, _submissions: Sequence[object]) -> None:
        """Nothing is handed over."""

    def next_batch(self, _timeout_s: float) -> list[Any]:
        """Nothing ends."""
        return []

    def stop(self, _keys: object) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing was opened."""
