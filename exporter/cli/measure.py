"""Verbs that measure speed: bench, recommend, compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from slide_export import api
from slide_export.core import typed_json

from .options import DIRECTORY, FILE, Names, as_json, input_size, measuring, read_pairs


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=DIRECTORY)
@measuring
@click.option(
    "--roofline/--no-roofline",
    default=True,
    show_default=True,
    help="Measure what this machine reaches at best, and how far above that limit each bundle is.",
)
@click.option("-o", "--result", "out", type=FILE, help="File for the result, JSON.")
@as_json
def bench(bundles: tuple[Path, ...], out: Path | None, as_json: bool, **options: Any) -> None:
    """Measure bundles on this machine or on --device, in interleaved rounds, and tell which is faster."""
    if out is not None and not out.parent.is_dir():
        raise click.UsageError(f"expected a file in a directory that exists for the result, found {out}")
    from slide_export.benchmark import result_file

    from .console import Steps, show_result

    with Steps(calm=True) as step:
        measured = api.bench(bundles, **options, step=step)
    if out is not None:
        result_file.write(measured, out)
    if as_json:
        click.echo(result_file.to_json(measured), nl=False)
        return
    show_result(measured, stderr=out is not None)
    if out is not None:
        click.echo(out)


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=DIRECTORY)
@measuring
@as_json
def recommend(bundles: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Measure bundles of one checkpoint on this machine and tell which to ship, and why."""
    from .console import Steps, show_result

    with Steps(calm=True) as step:
        recommendation, measured = api.recommend(bundles, **options, step=step)
    if as_json:
        click.echo(typed_json.dumps(recommendation, indent=2))
        return
    show_result(measured, stderr=True)
    others = (*recommendation.reasons, *recommendation.unmeasured)
    click.echo("\n".join((recommendation.sentence, *(f"  {reason}" for reason in others))))


@click.command()
@click.option("--variants", type=Names(), required=True, help="Names of models, im2col_swin_tiny and its like too.")
@click.option("--targets", type=Names(), default="onnx", show_default=True, help="Each in a session of its own.")
@click.option("--checkpoint", "pairs", multiple=True, metavar="VARIANT=PATH", help="Trained weights; else random ones.")
@click.option("--precision", default="fp32", show_default=True, metavar="NAME", help="One that the targets have.")
@input_size
@click.option("-o", "--out", type=DIRECTORY, default=Path("compared"), show_default=True, help="Where results go.")
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@measuring
@as_json
def compare(pairs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Measure variants on this machine or on --device: the paper's figure of speeds, and a report.

    Each variant is exported and proved; without a checkpoint it has random weights, which cost the same time. The
    others are compared with the first.
    """
    from .console import Steps, show_result

    with Steps() as step:
        results, paths = api.compare(**options, checkpoints=read_pairs(pairs, "--checkpoint VARIANT=PATH"), step=step)
    if as_json:
        click.echo(typed_json.dumps(results, indent=2))
        return
    for result in results:
        show_result(result, stderr=True)
    click.echo("\n".join(map(str, paths)))


@click.command()
@click.argument("results", nargs=-1, required=True, type=FILE)
@click.option(
    "-o",
    "--out",
    "outs",
    multiple=True,
    type=FILE,
    default=(Path("report.html"),),
    show_default="report.html",
    help="Where to; .html or .md, repeat it for both.",
)
def report(results: tuple[Path, ...], outs: tuple[Path, ...]) -> None:
    """Write results as one page for people: decision, plots, every number, doubts.

    RESULTS are files of `bench` or `compare`, from this machine or others: runs of one session are compared, sessions
    are put side by side.
    """
    click.echo("\n".join(map(str, api.report(results, outs))))
