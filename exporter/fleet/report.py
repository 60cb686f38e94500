"""A sweep's database -> one page for people (HTML, Markdown) and its rows for programs (CSV)."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from slide_export.core import files
from slide_export.core.errors import RequestError
from slide_export.pages import html, markdown
from slide_export.pages.document import Block, Document, Heading, Section, Sentence, Statements, Tone
from slide_export.pages.phrasing import count

from . import report_tables as tables
from .report_rows import ArtifactRow, Poison, Run, Sitting, SweepRows, read

MOST_FIGURES = 40  # sittings that are drawn; all of them have a table
LAST_WORDS = 4  # attempts of a poison job that are told
COLUMNS = (
    "artifact", "target", "precision", "state", "message", "size_mib", "verified", "accuracy_state", "images", "top1",
    "top1_pytorch", "drop", "drop_low", "drop_high", "max_drop", "agreement", "sqnr_db", "sitting", "device", "p50_ms",
    "p50_ms_low", "p50_ms_high", "on_front",
)  # fmt: skip


def write(database: Path, outs: Sequence[Path]) -> tuple[Path, ...]:
    """Write the report of a sweep to each of `outs`, by its ending; give `outs`.

    Raises:
        RequestError: there is no such database, or an ending is another.
        WriteError: a file cannot be written.
    """
    for out in outs:
        _writer(out)  # before anything is read
    rows = read(database)
    for out in outs:
        files.write(out, _writer(out)(rows))
    return tuple(outs)


def _writer(out: Path) -> Callable[[SweepRows], str]:
    """Writer for a file's ending; `RequestError` where there is none."""
    if out.suffix.lower() not in FORMATS:
        raise RequestError(f"expected a report that ends in {', '.join(FORMATS)}, found {str(out)!r}")
    return FORMATS[out.suffix.lower()]


def compose(rows: SweepRows) -> Document:
    """The page, in the order in which somebody who decides wants its parts."""
    jobs = sum(sum(states.values()) for states in rows.counts.values())
    subtitle = f"{count(len(rows.artifacts), 'artifact')}, {count(len(rows.sittings), 'sitting')}, {count(jobs, 'job')}"
    parts: Mapping[str, Sequence[Block]] = {
        "In short": [Statements(tuple(_in_short(rows)))],
        "Accuracy, latency, size": [*_fronts(rows.sittings)],
        "Poison": [Statements(tuple(map(_poisoned, rows.poison)))] if rows.poison else [],
        "Failures": [tables.failures(rows.failures)] if rows.failures else [],
        "Findings": [tables.findings(rows.findings)] if rows.findings else [],
        "Every artifact": [tables.artifacts(rows.artifacts)] if rows.artifacts else [],
        "Jobs": [tables.jobs(rows), *([tables.attempts(rows.attempts)] if rows.attempts else [])],
    }
    sections = tuple(Section(title, tuple(blocks)) for title, blocks in parts.items() if blocks)
    return Document("Sweep", subtitle, sections)


def _in_short(rows: SweepRows) -> Iterator[Sentence]:
    states: dict[str, int] = {}
    for of_stage in rows.counts.values():
        for state, number in of_stage.items():
            states[state] = states.get(state, 0) + number
    jobs, done = sum(states.values()), states.get("done", 0)
    rest = ", ".join(f"{number} {state}" for state, number in states.items() if state != "done")
    all_done: Tone = "good" if done == jobs else ""
    yield Sentence("Jobs", f"{done} of {jobs} done" + (f"; {rest}" if rest else ""), all_done)
    if rows.artifacts:
        fit = sum(one.fit for one in rows.artifacts)
        yield Sentence("Artifacts", f"{fit} of {len(rows.artifacts)} proved and within what was asked", all_done)
    lossy = [one.subject for one in rows.artifacts if one.accuracy_state == "refused"]
    if lossy:
        yield Sentence("Lose too much", tables.some(lossy), "bad")
    if rows.poison:
        yield Sentence("Given up", tables.some([one.subject for one in rows.poison]), "bad")
    failed = [one for one in rows.failures if one.state in ("refused", "failed")]
    if failed:
        how_many = sum(len(one.subjects) for one in failed)
        why = count(len(failed), "reason")
        yield Sentence("Failed", f"{count(how_many, 'job')} for {why}, listed below", "bad")
    if rows.findings:
        yield Sentence(
            "Not the same twice", f"{count(len(rows.findings), 'job')} whose bytes should be, listed below", "doubt"
        )
    for sitting in rows.sittings[:MOST_FIGURES]:
        names = [run.artifact.subject for run in sitting.runs if run.on_front]
        if names:
            yield Sentence(f"Worth a choice, {sitting.subject}", tables.some(names), "good")


def _fronts(sittings: Sequence[Sitting]) -> Iterator[Block]:
    for number, sitting in enumerate(sittings):
        yield Heading(f"{sitting.subject}: {sitting.device}")
        if sitting.warnings:
            yield Statements(tuple(Sentence("Doubtful", said, "doubt") for said in sitting.warnings))
        if number < MOST_FIGURES:
            yield from tables.planes(sitting)
        yield tables.sitting(sitting)


def _poisoned(job: Poison) -> Sentence:
    """A job that was given up, with the ends of its last attempts."""
    said = [
        f"{outcome} on {worker or 'no worker'}" + (f": {words}" if words and words != job.message else "")
        for outcome, worker, words in job.attempts[-LAST_WORDS:]
    ]
    text = f"{job.message or 'given up'} ({len(job.attempts)} attempts; {'; '.join(said)})"
    return Sentence(f"{job.stage} of {job.subject}", text, "bad")


def _as_csv(rows: SweepRows) -> str:
    """A row for each artifact and sitting, and one for each artifact that was in none."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    seen = set()
    for sitting in rows.sittings:
        for run in sitting.runs:
            seen.add(run.artifact.key)
            table.writerow({**_of_artifact(run.artifact), **_of_run(sitting, run)})
    for artifact in rows.artifacts:
        if artifact.key not in seen:
            table.writerow(_of_artifact(artifact))
    return text.getvalue()


def _of_artifact(row: ArtifactRow) -> dict[str, object]:
    found = row.accuracy or {}
    low, high = found.get("interval") or (None, None)
    return {
        "artifact": row.subject,
        "target": row.target,
        "precision": row.precision,
        "state": row.state,
        "message": row.message,
        "size_mib": row.size_mib,
        "verified": " ".join(row.verified),
        "accuracy_state": row.accuracy_state,
        "top1": (found.get("artifact") or {}).get("top1"),
        "top1_pytorch": (found.get("pytorch") or {}).get("top1"),
        "drop_low": low,
        "drop_high": high,
        **{name: found.get(name) for name in ("images", "drop", "max_drop", "agreement", "sqnr_db")},
    }


def _of_run(sitting: Sitting, run: Run) -> dict[str, object]:
    return {
        "sitting": sitting.subject,
        "device": sitting.device,
        "p50_ms": run.p50_ms.value,
        "p50_ms_low": run.p50_ms.low,
        "p50_ms_high": run.p50_ms.high,
        "on_front": run.on_front,
    }


FORMATS: Mapping[str, Callable[[SweepRows], str]] = {
    ".html": lambda rows: html.write(compose(rows)),
    ".md": lambda rows: markdown.write(compose(rows)),
    ".csv": _as_csv,
}
