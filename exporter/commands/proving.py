"""Is it the model? verify, diagnose."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from slide_export import api

from .options import CHECKPOINT, DIRECTORY, as_json, evaluation, keep, max_drop, min_sqnr


@click.command()
@click.argument("bundle", type=DIRECTORY)
@click.option("--against", type=CHECKPOINT, help="Derive the reference from this checkpoint anew.")
@evaluation
@max_drop
@min_sqnr
@click.option("--device", metavar="URL", help="Run it there: ssh://[user@]host[:port][/directory].")
@keep
@as_json
def verify(
    bundle: Path,
    against: Path | None,
    evaluation: Path | None,
    device: str | None,
    keep: bool,
    as_json: bool,
    **limits: Any,
) -> None:
    """Repeat a bundle's proof, from its golden file alone or against the checkpoint, here or on a device."""
    from slide_export.console import Steps, show_accuracy, show_parity

    if evaluation is not None and against is None:
        raise click.UsageError("expected --against with --eval: accuracy is compared with the checkpoint's own")
    if evaluation is not None and device is not None:
        raise click.UsageError("expected --eval without --device: accuracy is measured on this machine")
    with Steps() as step:
        proof = api.verify(bundle, against, device=device, keep=keep, step=step)
        measured = None
        if evaluation is not None and against is not None:
            measured = api.measure_accuracy(bundle, against, evaluation, step=step, **limits)
    accuracy = None if measured is None else {**asdict(measured), "passed": measured.passed}
    if as_json:
        click.echo(json.dumps({**asdict(proof), "passed": proof.passed, "accuracy": accuracy}, indent=2))
        return
    show_parity(bundle.name, asdict(proof))
    show_accuracy(accuracy)
    click.echo(bundle)


@click.command()
@click.argument("bundle", type=DIRECTORY)
@click.option("--against", type=CHECKPOINT, help="The checkpoint: a bundle does not hold what is inside the model.")
@click.option("--all", "every", is_flag=True, help="Show every module, not only blocks and their parts.")
@as_json
def diagnose(bundle: Path, against: Path | None, every: bool, as_json: bool) -> int:
    """Name the layer where an artifact leaves the trained model. Exits 1 if there is one."""
    from slide_export.console import Steps

    if against is None:
        raise click.UsageError(
            "expected --against CHECKPOINT: a bundle holds the trained model's outputs, not what is inside it"
        )
    with Steps() as step:
        found = api.diagnose(bundle, against, step=step)
    if as_json:
        from slide_export.diagnosis.table import as_plain

        click.echo(json.dumps(as_plain(found), indent=2))
    else:
        from slide_export.diagnosis.table import show

        show(found, every=every)
    return int(found.culprit is not None)
