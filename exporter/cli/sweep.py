"""`slide-export sweep`: many checkpoints, targets and precisions, on this machine or a fleet."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from slide_export.core import typed_json
from slide_export.core.errors import RequestError

from .options import DIRECTORY, FILE, Names, as_json

if TYPE_CHECKING:
    from slide_export.fleet.drive import SweepEnd
    from slide_export.fleet.engine import Engine
    from slide_export.fleet.sweep import Planned
    from slide_export.fleet.wishes import Wishes

RETRIED = ("failed", "poison", "refused", "cancelled")
WATCH_S = 2.0
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
DATABASE = Path("fleet.db")


class Duration(click.ParamType[float]):
    """`90`, `30m` or `1h`: seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds: "1.5h" -> 5400."""
        if isinstance(value, int | float):
            return float(value)
        found = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|min|h|d)?", str(value))
        if found is None:
            self.fail(f"expected a duration such as 90, 30m or 1h, found {value!r}", param, ctx)
        return float(found[1]) * UNITS[found[2] or ""]


class DefaultRun(click.Group):
    """A group whose command is `run` unless another one is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `run` before a plan's file."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


offer = click.option("--offer", "offers", multiple=True, metavar="NAME=VALUE", help="gpu=1 or board=pi5; repeatable.")
device = click.option("--device", metavar="URL", help="The board that is measured: ssh://[user@]host, adb:SERIAL.")
tls = click.option("--tls", type=DIRECTORY, help="Directory that `sweep certificates` made.")
insecure = click.option(
    "--insecure", is_flag=True, help="Take tcp:// to another machine: whoever reaches its port owns the machines."
)
database = click.argument("database", type=FILE, default=DATABASE)


@click.group(cls=DefaultRun)
def sweep() -> None:
    """Run a plan over checkpoints, targets and precisions, on this machine or a fleet; it goes on where it ended.

    \b
    slide-export sweep plan.yaml --dry-run          jobs, and an estimate
    slide-export sweep plan.yaml                    run it, or go on with it
    slide-export sweep status --watch               how it stands, from another terminal
    """  # noqa: D301  # the escape is click's: a paragraph that is not to be wrapped


@sweep.command()
@click.argument("plan", type=FILE)
@click.option("--scheduler", metavar="URL", help="Workers of a scheduler that is there: tls://host:8786.")
@tls
@insecure
@click.option("--workers", type=click.IntRange(min=0), help="Processes on this machine; 0: one job at a time in this.")
@offer
@device
@click.option("--dry-run", is_flag=True, help="Count the jobs, estimate time and bytes, run nothing.")
@click.option("--stop-after", "stop_after_s", type=Duration(), help="Begin no job later: 90, 30m, 1h.")
@click.option("--retry", type=Names(), default="", help=f"Try jobs in these states again: {','.join(RETRIED)}.")
@click.option("--resume", is_flag=True, help="Go on although the plan's text has changed.")
@click.option("--database", type=FILE, help="Where the sweep is remembered; fleet.db beside the plan without it.")
@click.option(
    "--wait-for-workers", "wait_for_workers_s", type=Duration(), default="10m", show_default=True,
    help="For a worker that a job needs, before the job is blocked.",
)  # fmt: skip
@as_json
def run(plan: Path, dry_run: bool, as_json: bool, **given: Any) -> int:
    """Run a plan, or go on with it: what is done is not done again. Exits with the worst of all jobs."""
    from slide_export.fleet import sweep as sweeps

    options = _options(plan, given)
    if dry_run:
        return _estimate(plan, options, as_json)
    from .console import Steps

    opened = _engines(given)
    with Steps(calm=True) as step, _wishes() as wishes:
        end = sweeps.run(plan, opened, options, wishes, None if as_json else _tell, step)
    _show(end, as_json)
    return end.exit_code


def _options(plan: Path, given: dict[str, Any]) -> Any:
    from slide_export.fleet import clusters
    from slide_export.fleet.sweep import SweepOptions

    if unknown := [name for name in given["retry"] if name and name not in RETRIED]:
        raise click.UsageError(f"expected states of {', '.join(RETRIED)} to retry, found {unknown[0]!r}")
    elsewhere, workers = given["scheduler"] is not None, given["workers"]
    if elsewhere and (workers is not None or given["offers"] or given["device"]):
        raise click.UsageError("expected --scheduler alone, or --workers, --offer and --device of this machine")
    return SweepOptions(
        database=given["database"],
        retry=tuple(name for name in given["retry"] if name),
        stop_after_s=float("inf") if given["stop_after_s"] is None else given["stop_after_s"],
        wait_for_workers_s=given["wait_for_workers_s"],
        resume=given["resume"],
        elsewhere=elsewhere,
        most_gib=None if elsewhere else clusters.memory_gib() / max(1, _count(workers)),
    )


def _count(workers: int | None) -> int:
    import os

    return (os.cpu_count() or 1) if workers is None else workers


def _engines(given: dict[str, Any]) -> Any:
    """What opens the workers, once the plan was read."""
    from slide_export.fleet import clusters, machine, worker
    from slide_export.fleet.engine import InlineEngine

    offers, count = worker.offers(given["offers"]), _count(given["workers"])
    environment = {machine.DEVICE: given["device"]} if given["device"] else {}
    if given["scheduler"] is not None:
        clusters.refuse_open(given["scheduler"], insecure=given["insecure"])

    @contextmanager
    def inline() -> Iterator[InlineEngine]:
        """This process."""
        engine = InlineEngine(1)
        try:
            yield engine
        finally:
            engine.close()

    def opened(_made: Planned) -> AbstractContextManager[Engine]:
        """The workers."""
        if given["scheduler"] is not None:
            return clusters.remote(given["scheduler"], given["tls"], insecure=given["insecure"])
        return clusters.embedded(count, offers, environment) if count else inline()

    return opened


def _estimate(plan: Path, options: Any, as_json: bool) -> int:
    from slide_export.fleet import estimate

    from .console import Steps

    with Steps(calm=True) as step:
        found = estimate.estimate(plan, options, step)
    click.echo(typed_json.dumps(estimate.as_plain(found), indent=2) if as_json else estimate.as_text(found))
    return 0


@contextmanager
def _wishes() -> Iterator[Wishes]:
    """Ctrl-C once begins no new job and waits for those that run; twice kills them."""
    from slide_export.fleet.wishes import Wishes

    wishes = Wishes()

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        """Wish for an end, then for one at once."""
        wishes.at_once = wishes.no_more
        wishes.no_more = True
        if not wishes.at_once:
            click.echo("interrupted: jobs that run are waited for; once more kills them", err=True)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield wishes
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(state: str, subject: str, message: str) -> None:
    click.echo(f"{state}: {subject}{f': {message}' if message else ''}", err=True)


def _show(end: SweepEnd, as_json: bool) -> None:
    if as_json:
        told = {"states": dict(end.states), "exit_code": end.exit_code, "message": end.message}
        click.echo(typed_json.dumps(told, indent=2))
        return
    click.echo(", ".join(f"{count} {state}" for state, count in end.states.items()))
    if end.message:
        click.echo(f"{end.message}: the same command goes on with it", err=True)


@sweep.command()
@database
@click.option("--watch", is_flag=True, help="Show it again and again, until every job is settled.")
@as_json
def status(database: Path, watch: bool, as_json: bool) -> None:
    """Tell how a sweep stands, beside the process that runs it."""
    from slide_export.fleet import status as statuses

    while True:
        found = statuses.read(database)
        click.echo(typed_json.dumps(statuses.as_plain(found)) if as_json else statuses.as_text(found))
        if not watch or found.settled or not found.running:
            return
        time.sleep(WATCH_S)


@sweep.command()
@database
@click.argument("jobs", nargs=-1)
def cancel(database: Path, jobs: tuple[str, ...]) -> None:
    """Cancel jobs of a sweep, all without JOBS: the beginning of a key, or "export digits *" in quotes."""
    from slide_export.fleet import wishes
    from slide_export.pages.phrasing import count

    number, running = wishes.cancel(database, jobs)
    verb = ("is being" if number == 1 else "are being") if running else ("was" if number == 1 else "were")
    click.echo(f"{count(number, 'job')} {verb} cancelled")


@sweep.command()
@click.argument("scheduler")
@offer
@click.option("--slots", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs at a time.")
@device
@tls
@insecure
def worker(
    scheduler: str, offers: tuple[str, ...], slots: int, device: str | None, tls: Path | None, insecure: bool
) -> None:
    """Work for a scheduler with this machine until ended: tls://host:8786. It comes back when the scheduler does."""
    from slide_export.fleet import worker as workers

    made = workers.command(scheduler, slots, workers.offers(offers), tls, insecure=insecure)
    workers.run(made, slots, device)


@sweep.command()
@click.argument("directory", type=DIRECTORY)
def certificates(directory: Path) -> None:
    """Make certificates for a fleet: an authority, and a pair each for client, scheduler and workers."""
    from slide_export.fleet import certificates as pairs

    click.echo("\n".join(map(str, pairs.make(directory))))


@sweep.command()
@database
@click.option(
    "-o", "--out", "outs", multiple=True, type=FILE, default=(Path("report.html"),), show_default="report.html",
    help="Where to; .html, .md or .csv, repeat it for several.",
)  # fmt: skip
def report(database: Path, outs: tuple[Path, ...]) -> None:
    """Write what came of a sweep as a page for people: fronts of accuracy, latency and size, failures, every row."""
    if unknown := [out for out in outs if out.suffix not in (".html", ".md", ".csv")]:
        raise RequestError(f"expected a report of .html, .md or .csv, found {unknown[0].name}")
    from slide_export.fleet.report import write

    click.echo("\n".join(map(str, write(database, outs))))
