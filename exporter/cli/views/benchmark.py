"""Benchmark results in a terminal: the machine, a row for each run, the comparisons, the profiles."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from slide_export.benchmark import fast_types
from slide_export.benchmark.profile import by_block, by_group, by_kind
from slide_export.benchmark.recommend import unfit
from slide_export.benchmark.roofline import roofline
from slide_export.core.measurement import (
    KINDS,
    ArtifactTiming,
    BenchmarkResult,
    BenchProtocol,
    Environment,
    Peaks,
    Verdict,
)
from slide_export.core.text import foreign

from .literal import LONGEST, literal
from .table import plain_table

COLORS: dict[Verdict, str] = {"faster": "green", "slower": "red", "same": "default", "cannot tell": "dim"}
MAX_COMPARISONS = 10  # shown in full; of more only those with the first run of a batch size
MAX_BLOCKS = 10  # of a profile, the slowest ones


def render(result: BenchmarkResult) -> Iterator[RenderableType]:
    """Parts of a result in the order of printing, from the machine to the profiles."""
    yield ""
    yield _machine(result.environment, result.protocol)
    yield _runs(result)
    yield ""
    if result.comparisons:
        yield _comparisons(result)
    if result.peaks is not None:
        yield from _rooflines(result, result.peaks)
    for warning in dict.fromkeys((*_doubts(result), *result.environment.warnings)):
        yield f"[yellow]![/] {literal(warning)}"
    for run in result.runs:
        if run.profile:
            yield _profile(run)


def _machine(machine: Environment, protocol: BenchProtocol) -> Text:
    flags = f" ({' '.join(machine.flags)})" if machine.flags else ""
    cores = f", {_count(machine.cores, 'processor')}" if machine.cores else ""
    memory = f", {machine.memory_mib / 1024:.1f} GiB" if machine.memory_mib else ""
    fast = fast_types.sentence(machine.flags)
    bound = f" on processors {' '.join(map(str, protocol.affinity))}" if protocol.affinity else ""
    threads = _count(protocol.threads, "thread") if protocol.threads else "threads as the runtime chooses"
    return Text(
        f"{foreign(f'{machine.device}: {machine.cpu}{flags}{cores}{memory}', LONGEST)}\n"
        f"{fast and f'it {fast}{chr(10)}'}"
        f"{_count(protocol.rounds, 'interleaved round')} of {_count(protocol.calls, 'call')}, "
        f"{threads}{bound}; intervals of {protocol.confidence:.0%}",
        style="dim",
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _runs(result: BenchmarkResult) -> Table:
    columns = ("artifact", "batch", "p50 ms", "", "p90", "p99", "images/s", "load ms", "first ms", "peak MiB")
    table = plain_table(columns, words=(0, 3))
    for name, run in zip(_names(result.runs), result.runs, strict=True):
        table.add_row(
            f"[bold]{literal(name)}[/]",
            str(run.batch),
            f"[bold]{_ms(run.p50_ms.value)}[/]",
            f"[dim]{_ms(run.p50_ms.low)} to {_ms(run.p50_ms.high)}[/]",
            _ms(run.p90_ms.value),
            _ms(run.p99_ms.value),
            f"{run.images_per_s:,.1f}",
            _whole(run.load_ms),
            "-" if run.first_ms is None else _ms(run.first_ms),
            _whole(run.peak_mib),
        )
    return table


def _whole(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _names(runs: Sequence[ArtifactTiming]) -> list[str]:
    """Name, target and precision of each run; the name alone where the rest is the same for all."""
    rest = {(run.subject.target, run.subject.precision) for run in runs}
    name = {run.subject.name for run in runs}
    if len(rest) == 1 and len(name) > 1:
        return [run.subject.name for run in runs]
    return [f"{run.subject.name} {run.subject.target} {run.subject.precision}" for run in runs]


def _comparisons(result: BenchmarkResult) -> Table:
    """A row for each pair of runs; where there are many, only the pairs with the first run of a batch size."""
    names = _names(result.runs)
    few = len(result.comparisons) <= MAX_COMPARISONS
    bases = {next(index for index, one in enumerate(result.runs) if one.batch == run.batch) for run in result.runs}
    table = plain_table()
    for pair in result.comparisons:
        if few or pair.b in bases:
            low, high, color = pair.ratio.low, pair.ratio.high, COLORS[pair.verdict]
            table.add_row(
                f"[bold]{literal(names[pair.a])}[/] beside {literal(names[pair.b])}, batch {result.runs[pair.a].batch}",
                f"[bold]{pair.ratio.value:.2f}[/] of its time [dim]{low:.2f} to {high:.2f}[/]",
                f"[{color}]{pair.verdict}[/]",
            )
    return table


def _rooflines(result: BenchmarkResult, peaks: Peaks) -> Iterator[RenderableType]:
    """What no program goes below on this machine, and how far above it each run is."""
    best = ", ".join(f"{kind} {rate:,.0f}" for kind, rate in peaks.gmacs_per_s.items())
    read = ", ".join(f"{rate:.3g} GB/s of {size} MiB" for size, rate in peaks.read_gb_per_s.items())
    threads = _count(peaks.threads, "thread")
    yield Text(f"\nat best with up to {threads}, 1e9 multiply-adds a second: {best}; reads {read}", style="dim")
    table = plain_table(("limit", "batch", "products ms", "bytes ms", "× of the limit"))
    for name, run in zip(_names(result.runs), result.runs, strict=True):
        if found := roofline(run, peaks):
            table.add_row(
                f"[bold]{literal(name)}[/]",
                str(run.batch),
                f"{_ms(found.products_ms)} [dim]{found.kind}[/]",
                _ms(found.reading_ms),
                f"[bold]{found.factor:.1f}[/]",
            )
        else:
            table.add_row(f"[bold]{literal(name)}[/]", str(run.batch), "-", "-", "-")
    yield table
    yield ""


def _ms(value: float) -> str:
    """Milliseconds to three digits, at most two of them decimals."""
    if value >= 99.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 9.995 else f"{value:.2f}"


def _doubts(result: BenchmarkResult) -> Iterator[str]:
    for name, run in zip(_names(result.runs), result.runs, strict=True):
        if reason := unfit(run.subject):
            yield f"{name}: must not ship, {reason}"
        if run.stand_in:
            yield f"{name}: {run.stand_in}"
        if not run.stable:
            yield f"{name}, batch {run.batch}: its time was not stable yet after {run.warmup_calls} calls of warm-up"


def _profile(run: ArtifactTiming) -> RenderableType:
    """Time of a run by block and kind: the slowest blocks, in the order of execution, then the rest."""
    blocks, kinds = by_block(run.profile), by_kind(run.profile)
    total = sum(kinds.values())
    slowest = sorted(blocks, key=lambda block: -sum(blocks[block].values()))[:MAX_BLOCKS]
    table = plain_table(("module", "ms", "share", *KINDS))
    for block in blocks:
        if block in slowest:
            table.add_row(*_cells(literal(block) or "no module", blocks[block], total))
    rest = [blocks[block] for block in blocks if block not in slowest]
    if rest:
        summed = {kind: sum(block.get(kind, 0.0) for block in rest) for kind in KINDS}
        table.add_row(*_cells(f"[dim]{len(rest)} more[/]", summed, total))
    table.add_row(*_cells("[bold]all[/]", kinds, total))
    table.add_row("", "", "", *(f"[dim]{kinds[kind] / total:.0%}[/]" for kind in KINDS))
    name = literal(f"{run.subject.name} {run.subject.target}")
    groups = by_group(run)
    parts = ", ".join(f"{group} {_ms(ms)} ms ({ms / total:.0%})" for group, ms in groups.items())
    title = f"\n[bold]{name}[/], batch {run.batch}: {len(run.profile)} operators"
    return Group(f"{title} [dim]({literal(run.evaluator)}, its own profiler)[/]", parts, table)


def _cells(name: str, ms: dict[str, float], total: float) -> tuple[str, ...]:
    spent = sum(ms.values())
    return (name, _ms(spent), f"{spent / total:.0%}", *(_ms(ms[kind]) if ms.get(kind) else "-" for kind in KINDS))
