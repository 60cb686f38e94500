"""How results and progress look in a terminal. Everything goes to stderr: stdout is for the result itself."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.status import Status
from rich.table import Table

from slide_export.backends import registry as backends
from slide_export.backends.interface import Availability
from slide_export.core.model import ASSUMED, Inspection

from .views import environments
from .views.literal import SENTENCE, literal
from .views.log import LogLines

if TYPE_CHECKING:
    from slide_export.backends.isolation import KeptEnvironment
    from slide_export.bundle.manifest import Manifest
    from slide_export.bundle.records import AccuracyRecord, ParityRecord
    from slide_export.calibration.accuracy import AccuracyReport
    from slide_export.calibration.sensitivity import MixedSearch
    from slide_export.checkpoint.variants import Entry
    from slide_export.core.measurement import BenchmarkResult
    from slide_export.core.model import BlockCertificate
    from slide_export.core.proof import Flip, ParityReport
    from slide_export.linter import Finding
    from slide_export.verification.outcome import VerifyResult
    from slide_export.workflows.all_targets import TargetResult
    from slide_export.workflows.demo import DemoRow

MIB = 2**20
LOG_WIDTH = 120
GOOD, BAD = "[green]✓[/]", "[red]✗[/]"


def _console(*, stderr: bool = True) -> Console:
    """A console as wide as the terminal, or wide enough for a log where there is none."""
    console = Console(stderr=stderr, highlight=False)
    return console if console.is_terminal else Console(stderr=stderr, highlight=False, width=LOG_WIDTH)


class Steps:
    """The stage that runs, and a line with its seconds once it is over. A callable of pipeline.Step's kind."""

    def __init__(self, *, calm: bool = False) -> None:
        """Make the display.

        Args:
            calm: redraw once a second: what is measured meanwhile should have the processors for itself.
        """
        self._console = _console()
        self._status = Status("start", console=self._console, refresh_per_second=1 if calm else 12.5)
        self._progress = LogLines(self._console, self._status)

    def __enter__(self) -> Steps:
        self._progress.attach()
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()
        self._progress.detach()

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Show the stage `what` while it runs."""
        what = literal(what)
        self._status.update(what)
        start = time.perf_counter()
        try:
            yield
        except BaseException:
            self._console.print(f" {BAD} {what}")
            raise
        self._console.print(f" {GOOD} {what} [dim]{time.perf_counter() - start:.1f} s[/]")


def show_export(manifest: Manifest) -> None:
    """Print what was made and how equal it is."""
    model, size = manifest.model, manifest.artifact.bytes / MIB
    rows, cols = model.image_size
    console = _console()
    for note in manifest.checkpoint.notes:
        console.print(f"   [dim]{literal(note, SENTENCE)}[/]")
    console.print(
        f"\n[bold]{literal(model.variant)}[/] {rows}x{cols}, {model.parameters / 1e6:.2f} M parameters "
        f"→ [bold]{literal(manifest.target)} {literal(manifest.precision.name)}[/], {size:.1f} MiB, "
        f"form {literal(manifest.options.form)}"
    )
    _fusion_line(console, manifest.fusion)
    console.print(f"{GOOD} {literal(manifest.dtype_stats.sentence, SENTENCE)}")
    _parity_table(console, manifest.parity)
    if manifest.float_build is not None:
        console.print(f"{GOOD} {literal(manifest.float_build.sentence, SENTENCE)}", soft_wrap=True)
    if manifest.plain_load is not None and not manifest.plain_load.same:
        console.print(f"   {literal(manifest.plain_load.sentence, SENTENCE)}", soft_wrap=True)
    show_accuracy(manifest.accuracy)
    if manifest.mixed is not None:
        console.print(_kept(manifest.mixed), soft_wrap=True)


def _kept(search: MixedSearch) -> str:
    if not search.kept:
        return f"{GOOD} kept in float: nothing, every layer in {search.base} reaches the goal"
    return (
        f"{GOOD} kept in float: {literal(', '.join(search.kept), SENTENCE)}\n  every layer in {search.base}: "
        f"{literal(search.before)}\n  with these in float: {literal(search.after)}"
    )


def show_accuracy(accuracy: AccuracyRecord | AccuracyReport | None) -> None:
    """Print what was lost to PyTorch, nothing where it was not measured."""
    if accuracy is not None:
        from slide_export.proof.accuracy import sentence

        _console().print(f"{GOOD} {literal(sentence(asdict(accuracy)), SENTENCE)}", soft_wrap=True)


def _fusion_line(console: Console, fusion: Sequence[BlockCertificate]) -> None:
    if fusion:
        worst = max(fusion, key=lambda block: block.difference / block.bound if block.bound else 0.0)
        drift = max(block.drift for block in fusion)
        moved = f"the shift path has drifted by up to {drift:.3g}" if drift else "the shift path is the pure shift"
        console.print(
            f"{GOOD} {len(fusion)} blocks fused: within rounding (largest {worst.difference:.1e} "
            f"of {worst.bound:.1e} allowed, {literal(worst.block)}); {moved}"
        )


def show_parity(name: str, parity: ParityReport) -> None:
    """Print one proof."""
    console = _console()
    console.print(f"\n[bold]{literal(name)}[/]")
    _parity_table(console, parity)


def show_outcomes(outcomes: Sequence[VerifyResult]) -> None:
    """Print how the proofs of bundles ended: all the numbers of a single one, a row each of many."""
    if len(outcomes) == 1 and outcomes[0].passed:
        (only,) = outcomes
        if only.proof is not None:
            show_parity(only.path.name, only.proof)
        show_accuracy(only.accuracy)
        return
    console = _console()
    if len(outcomes) == 1:
        console.print(f"[bold red]error:[/] {literal(outcomes[0].sentence, SENTENCE)}", soft_wrap=True)
        return
    from .views.verification import render

    for part in render(outcomes):
        console.print(part, soft_wrap=isinstance(part, str))


def _parity_table(console: Console, parity: ParityRecord | ParityReport) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("output", "largest error", "noise floor", "limit", "SQNR", "cosine"):
        table.add_column(column, justify="left" if column == "output" else "right")
    for output in parity.outputs:
        table.add_row(
            literal(output.name),
            f"{output.max_abs:.2e}",
            f"{output.floor_max:.2e}",
            f"{output.limit_max:.2e}",
            f"{output.sqnr_db:.1f} dB",
            f"{output.cosine:.8f}",
        )
    least = parity.accepted.min_sqnr_db
    verdict = "equal to" if least is None else f"within quantization noise (at least {least:g} dB) of"
    console.print(
        f"{GOOD} {verdict} the trained PyTorch model on {parity.images} real images ({literal(parity.source)}), "
        f"batch {', '.join(map(str, parity.batch_sizes))} ({literal(parity.evaluator)})"
    )
    if parity.top1 is not None:
        console.print(f"{GOOD} top-1 agreement {parity.top1:.1%}" + _flips(parity.flips))
    console.print(table)


def _flips(flips: Sequence[Flip]) -> str:
    return "".join(f"; {literal(flip.image)} {flip.expected}→{flip.found} (margin {flip.margin:.1e})" for flip in flips)


def show_every_target(results: Sequence[TargetResult]) -> None:
    """Print one row a target: what was made and how equal it is, or why not."""
    table = Table(box=None, header_style="dim")
    for column in ("", "target", "size", "largest error", "limit", "SQNR", "top-1", "seconds"):
        table.add_column(column, justify="left" if column in ("", "target") else "right")
    for result in results:
        table.add_row(_target_mark(result), *_target_cells(result), f"{result.seconds:.0f}")
    console = _console()
    console.print(table)
    for result in results:
        if said := result.on_command_line:
            console.print(f"[bold]{literal(result.target)}[/]: {literal(said, SENTENCE)}", soft_wrap=True)
        if result.bundle:
            console.print(
                f"[dim]{literal(result.target)}: {literal(result.bundle.manifest.parity.evaluator)}[/]", soft_wrap=True
            )


def _target_mark(result: TargetResult) -> str:
    if result.exit_code:
        return BAD
    return GOOD if result.bundle else "[dim]-[/]"  # not installed, and nobody named it


def _target_cells(result: TargetResult) -> tuple[str, ...]:
    if result.bundle is None:
        return (result.target, "-", "-", "-", "-", "-")
    manifest = result.bundle.manifest
    output, top1 = manifest.parity.outputs[0], manifest.parity.top1
    return (
        f"{result.target} {manifest.precision.name}",
        f"{manifest.artifact.bytes / MIB:.1f} MiB",
        f"{output.max_abs:.1e}",
        f"{output.limit_max:.1e}",
        f"{output.sqnr_db:.0f} dB",
        "-" if top1 is None else f"{top1:.0%}",
    )


def show_inspection(found: Inspection) -> None:
    """Print what a checkpoint holds."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows, cols = found.config["image_size"]
    table.add_row("variant", f"[bold]{literal(found.variant)}[/]")
    read = {"format": found.format, "container": found.container, "wrapper": found.wrapper, "prefix": found.prefix}
    for key, value in {**read, "dropped": ", ".join(found.dropped)}.items():
        if value:
            table.add_row(key, literal(value))
    classes = f"{found.config['num_classes']} classes" if found.config["num_classes"] else "no classification head"
    table.add_row("input", f"{rows}x{cols}, {classes}")
    for key, value in found.config.items():
        if key not in ("image_size", "num_classes"):
            told = " ".join(map(str, value)) if isinstance(value, tuple) else value
            table.add_row(literal(key.replace("_", " ")), literal(str(told)))
    table.add_row("parameters", f"{found.parameters:,}")
    table.add_row("multiply-adds", f"{found.macs / 1e6:,.1f} M as trained, {found.fused_macs / 1e6:,.1f} M fused")
    for block, drift in found.drift.items():
        table.add_row("drift of shift path", f"{drift:.3g}  {literal(block)}")
    for key, value in found.preprocessing.items():
        table.add_row(literal(key.replace("_", " ")), literal(str(value)))
    table.add_row("sha256", found.sha256)
    if found.labels:
        table.add_row("labels", literal(", ".join(found.labels[:5])) + (", ..." if len(found.labels) > 5 else ""))
    for one in found.values:
        origin = f"from {one.source}" if one.source != ASSUMED else "assumed"
        told = literal(f"{one.value}  {origin}")
        table.add_row(f"--model {literal(one.name)}", f"{told} [dim]({literal(one.expected)}): {literal(one.help)}[/]")
    for note in found.notes:
        table.add_row("assumed" if note in found.assumed else "note", literal(note, SENTENCE))
    _console(stderr=False).print(table)


def show_findings(subject: Path, found: Sequence[Finding]) -> None:
    """Print what a lint found, rule by rule."""
    from .views.linter import render

    console = _console(stderr=False)
    counts = Counter(finding.severity for finding in found)
    console.print(
        f"[bold]{literal(subject)}[/]: {counts['error']} errors, {counts['warning']} warnings, {counts['hint']} hints"
    )
    console.print(render(found))


def show_result(result: BenchmarkResult, *, stderr: bool) -> None:
    """Print what was measured, how it compares and where the time goes."""
    from .views.benchmark import render

    console = _console(stderr=stderr)
    for part in render(result):
        console.print(part, soft_wrap=isinstance(part, str))


def show_targets(found: Sequence[Availability], kept: Sequence[KeptEnvironment] = ()) -> None:
    """Print what can be used here, and what is kept of environments."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("", "target", "precisions", "lowers", "runs or evaluates", "proves", "installed"):
        table.add_column(column)
    for target in found:
        table.add_row(
            GOOD if target.ready else BAD,
            f"[bold]{target.target}[/]",
            " ".join(target.precisions),
            GOOD if target.ready else BAD,
            GOOD if target.runs and target.obstacle is None else BAD,
            target.proves,
            ", ".join(f"{name} {version}" for name, version in target.versions.items()) or "-",
        )
    console = _console(stderr=False)
    console.print(table)
    for target in found:
        if not target.ready:
            console.print(f"{target.target} is not installed: {target.install}", markup=False)
        elif target.obstacle:
            console.print(f"{target.target} does not run here: {target.obstacle}", markup=False)
    for one in kept:
        console.print(f"{one.target} is converted in {environments.sentence(one)}", markup=False, soft_wrap=True)
    from slide_export.benchmark import environment, fast_types

    if said := fast_types.sentence(environment.flags()):
        console.print(f"This processor {said}.", markup=False)
    console.print()
    console.print(_option_table(found))


def show_variants(found: Sequence[Entry]) -> None:
    """Print the zoo, family by family, the authors' figures beside ours; their sources below."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    published = "[dim]published[/]"
    for column in ("variant", "input", "M parameters", published, "G multiply-adds", published, "top-1"):
        table.add_column(column, justify="left" if column == "variant" else "right", no_wrap=True)
    table.add_column("proved")
    sources = list(dict.fromkeys(entry.published.source for entry in found if entry.published))
    for before, entry in zip((None, *found), found, strict=False):
        if before is None or before.family != entry.family:
            table.add_row(f"[bold]{entry.family}[/]")
        table.add_row(*_variant_cells(entry, sources), _proved(entry.proved))
    console = _console(stderr=False)
    console.print(table)
    console.print("\nMultiply-adds are those of the inference form; top-1 of ImageNet-1K is as published, in percent:")
    for number, source in enumerate(sources, start=1):
        console.print(f"[{number}] {source}", markup=False)
    console.print("Proved: at full size with random weights, by make matrix.")


def _proved(targets: Mapping[str, Iterable[str]]) -> str:
    """Precisions with their targets, "fp16: onnx; fp32: all" for instance; "-" where nothing was proved."""
    by_precision: dict[str, list[str]] = {}
    for target, precisions in sorted(targets.items()):
        for precision in precisions:
            by_precision.setdefault(precision, []).append(target)
    everything = list(backends.names())
    parts = (f"{p}: {'all' if on == everything else ', '.join(on)}" for p, on in sorted(by_precision.items()))
    return "; ".join(parts) or "-"


def _variant_cells(entry: Entry, sources: Sequence[str]) -> tuple[str, ...]:
    rows, cols = entry.image_size
    known, counts = entry.published, entry.counts
    parameters, macs = f"{counts.parameters / 1e6:.1f}", f"{counts.fused_macs / 1e9:.2f}"
    if known is None:
        return (f"  {entry.variant}", f"{rows}x{cols}", parameters, "-", macs, "-", "-")
    top1 = literal(f"{known.top1:.1f} [{sources.index(known.source) + 1}]")
    beside = (f"{known.parameters_m:g}", f"{known.flops_g:.1f}")
    return (f"  {entry.variant}", f"{rows}x{cols}", parameters, beside[0], macs, beside[1], top1)


def _option_table(found: Sequence[Availability]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("target", "--option NAME=", "default", "what it does"):
        table.add_column(column)
    for target in found:
        for name, option in target.options.items():
            choices = f": {', '.join(option.choices)}" if option.choices else ""
            table.add_row(target.target, name, option.default or "-", f"{option.help}[dim]{choices}[/]")
    return table


def show_demo(rows: Sequence[DemoRow]) -> None:
    """Print the accuracies side by side."""
    table = Table(title="Handwritten digits, 500 held-out images", title_justify="left", title_style="bold", box=None)
    for column in ("model", "held-out accuracy", "size", "largest error", "limit", "SQNR"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        proof = ("", "", "", "") if row.path is None else _proof_cells(row)
        why_not = f"not installed: {literal(row.absent)}" if row.absent else "not run here"
        accuracy = why_not if row.accuracy is None else f"[bold]{row.accuracy:.1%}[/]"
        table.add_row(row.what, accuracy, *proof)
    console = _console(stderr=False)
    console.print()
    console.print(table)
    console.print()
    for row in rows:
        if row.path is not None:
            console.print(
                f"{GOOD} {literal(row.path)}/report.md [dim]proved equal ({literal(row.evaluator)})[/]", soft_wrap=True
            )


def _proof_cells(row: DemoRow) -> tuple[str, str, str, str]:
    return f"{row.size_mib:.2f} MiB", f"{row.max_abs:.1e}", f"{row.limit:.1e}", f"{row.sqnr_db:.0f} dB"
