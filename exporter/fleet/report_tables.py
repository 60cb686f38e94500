"""Every number of a sweep's report, and the planes in which its artifacts stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from slide_export.pages.document import Figure, Table
from slide_export.pages.figures import tradeoff
from slide_export.pages.phrasing import DASH

from .report_rows import ArtifactRow, Failures, Run, Sitting, SweepRows

NAMED = 3  # subjects that are written out
MOST_ROWS = 2000  # of a table; the CSV has all
MIN_POINTS = 2  # in a plane
PLANE = (
    "Further left is faster. Full points are the front of latency, accuracy and size: nothing else is better in one of "
    "the three and worse in none, where latencies whose intervals overlap are not told apart. Hollow points are "
    "beaten, or not fit. Of this sitting alone: latencies of different sittings are not compared."
)


def some(names: Sequence[str]) -> str:
    """The first names, and how many there are beyond."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def planes(sitting: Sitting) -> Iterator[Figure]:
    """Latency against accuracy where it was measured, and against size."""
    scored = [(run, top1(run.artifact)) for run in sitting.runs]
    lost = [(run, run.artifact.loss) for run in sitting.runs]
    if sum(value is not None for _, value in scored) >= MIN_POINTS:
        yield from _plane(sitting, "top-1 accuracy", "%", scored)
    elif sum(value is not None for _, value in lost) >= MIN_POINTS:
        yield from _plane(sitting, "lost beside PyTorch, less is better", "", lost)
    sizes = [(run, run.artifact.size_mib) for run in sitting.runs]
    yield from _plane(sitting, "size of the artifact", "MiB", sizes, "The same artifacts, the same front.")


def _plane(
    sitting: Sitting, what: str, unit: str, values: Sequence[tuple[Run, float | None]], caption: str = PLANE
) -> Iterator[Figure]:
    targets = list(dict.fromkeys(run.artifact.target for run in sitting.runs))
    points = [
        tradeoff.Point(
            run.p50_ms.value,
            value,
            run.artifact.subject,
            targets.index(run.artifact.target) % tradeoff.SERIES,
            not run.on_front,
        )
        for run, value in values
        if value is not None
    ]
    if len(points) >= MIN_POINTS:
        drawn = tradeoff.draw(points, unit, what, from_zero=unit == "MiB")
        yield Figure(f"Median latency and {what.partition(',')[0]}", drawn, caption)


def top1(row: ArtifactRow) -> float | None:
    """Top-1 accuracy of the artifact in percent, or the figure of its task."""
    found = row.accuracy or {}
    if measured := found.get("measured"):
        return float(measured["artifact"])
    hits = found.get("artifact")
    return None if hits is None else 100 * float(hits["top1"])


def sitting(found: Sitting) -> Table:
    """The artifacts of one sitting, fastest first."""
    return Table(
        "One sitting, fastest first, with 95% intervals",
        ("artifact", "choice", "p50 ms", "top-1", "lost", "MiB"),
        tuple(
            (
                run.artifact.subject,
                _choice(run),
                f"{run.p50_ms.value:.2f} ({run.p50_ms.low:.2f} to {run.p50_ms.high:.2f})",
                _shown(top1(run.artifact), 2),
                _shown(run.artifact.loss, 2),
                _shown(run.artifact.size_mib, 2),
            )
            for run in found.runs
        ),
        left=2,
    )


def _choice(run: Run) -> str:
    if not run.artifact.fit:
        return "not fit"
    return "on the front" if run.dominated_by is None else f"beaten by {run.dominated_by.subject}"


def artifacts(rows: Sequence[ArtifactRow]) -> Table:
    """Every artifact: its proof, its accuracy, its limit."""
    cut = "" if len(rows) <= MOST_ROWS else f"; the first {MOST_ROWS} of {len(rows)}, the CSV has all"
    return Table(
        f"Proof, accuracy and size of every artifact{cut}",
        ("artifact", "proof", "elsewhere", "accuracy", "top-1", "lost (95%)", "allowed", "agree", "SQNR dB", "MiB"),
        tuple(_artifact(row) for row in rows[:MOST_ROWS]),
        left=4,
    )


def _artifact(row: ArtifactRow) -> tuple[str, ...]:
    found = row.accuracy or {}
    low, high = found.get("interval") or (None, None)
    within = "" if low is None else f" ({low:.2f} to {high:.2f})"
    agreement = found.get("agreement")
    return (
        row.subject,
        row.state if row.state == "done" or not row.message else f"{row.state}: {row.message}",
        ", ".join(row.verified) or DASH,
        row.accuracy_state or DASH,
        _shown(top1(row), 2),
        _shown(row.loss, 2) + within,
        _shown(found.get("max_drop"), 2),
        DASH if agreement is None else f"{agreement:.2%}",
        _shown(found.get("sqnr_db"), 1),
        _shown(row.size_mib, 2),
    )


def failures(found: Sequence[Failures]) -> Table:
    """Jobs that ended alike in one row."""
    return Table(
        "Jobs without an output, by what they say; numbers in the words tell none apart",
        ("what it says", "stage", "state", "of", "jobs"),
        tuple((one.message or DASH, one.stage, one.state, some(one.subjects), str(len(one.subjects))) for one in found),
        left=4,
    )


def findings(found: Sequence[tuple[str, str]]) -> Table:
    """What was found beside the results."""
    return Table("What two executions of a deterministic stage differ in", ("job", "finding"), tuple(found), left=2)


def jobs(rows: SweepRows) -> Table:
    """Jobs by stage and state, and what they took."""
    states = list(dict.fromkeys(state for counts in rows.counts.values() for state in counts))
    return Table(
        "Jobs by stage",
        ("stage", *states, "seconds", "mean s"),
        tuple(
            (
                stage,
                *(str(counts.get(state, 0)) for state in states),
                f"{rows.seconds[stage]:.0f}",
                f"{rows.seconds[stage] / max(1, sum(counts.values())):.2f}",
            )
            for stage, counts in rows.counts.items()
        ),
    )


def attempts(found: Mapping[str, int]) -> Table:
    """Attempts by how they ended."""
    return Table("Attempts by outcome", ("outcome", "attempts"), tuple((name, str(n)) for name, n in found.items()))


def _shown(value: float | None, digits: int) -> str:
    return DASH if value is None else f"{value:.{digits}f}"
