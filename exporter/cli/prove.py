"""Is it the model? run, verify, diagnose."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from slide_export import api
from slide_export.core import typed_json

from .options import CHECKPOINT, DIRECTORY, FILE, PATTERN, as_json, evaluation, keep, max_drop, timeout


@click.command()
@click.argument("bundle", type=DIRECTORY)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=PATTERN)
@click.option("--against", type=CHECKPOINT, help="Answer with this checkpoint too, in PyTorch, beside the artifact.")
@click.option("--draw", type=DIRECTORY, help="Write the answers there as pictures, before and after side by side say.")
@as_json
def run(bundle: Path, images: tuple[Path, ...], against: Path | None, draw: Path | None, as_json: bool) -> None:
    """Answer pictures with a bundle's artifact: the likeliest classes of each, or what else its task gives.

    IMAGES are files or folders; they are resized, cropped and normalised as the manifest says.
    """
    from .console import Steps
    from .views.run import as_plain, as_text

    with Steps() as step:
        found = api.run(bundle, images, against, draw=draw, step=step)
    click.echo(typed_json.dumps(as_plain(found), indent=2) if as_json else as_text(found))


@click.command()
@click.argument("bundles", nargs=-1, required=True, type=PATTERN)
@click.option("--against", type=CHECKPOINT, help="Derive the reference from this checkpoint anew.")
@evaluation
@max_drop
@click.option(
    "--min-sqnr",
    "min_sqnr_db",
    type=float,
    help="Decibels that every output has to have in the proof, or on --eval where that is given.",
)
@click.option(
    "--draw", type=DIRECTORY, help="Write there the golden images' answers as pictures, above the PyTorch model's."
)
@click.option("--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Processes for --eval.")
@click.option("--device", metavar="URL", help="Run them there: ssh://[user@]host[:port][/directory].")
@keep
@timeout
@click.option("--junit", type=FILE, help="Write JUnit XML to this file, a test case a bundle.")
@click.option("--markdown", type=FILE, help="Append a table to this file, $GITHUB_STEP_SUMMARY say.")
@as_json
def verify(bundles: tuple[Path, ...], junit: Path | None, markdown: Path | None, as_json: bool, **demand: Any) -> int:
    """Repeat the proof of bundles, from their golden files alone or against the checkpoint.

    BUNDLES are directories, or globs in quotes such as 'exported/*', which takes what has a manifest.json. One that
    fails does not stop the others; the exit code is the worst of all.
    """
    from slide_export.core import files as whole_file
    from slide_export.verification import outcome

    from .console import Steps, show_outcomes

    for path in (junit, markdown):
        if path is not None:
            whole_file.refuse_unwritable(path)
    began = datetime.now(UTC)
    with Steps() as step:
        found = api.verify_all(bundles, **demand, step=step)
    if junit is not None:
        from slide_export.verification.junit import write as as_junit

        whole_file.write(junit, as_junit(found, began))
    if markdown is not None:
        from slide_export.verification.markdown import write as as_markdown

        whole_file.append(markdown, as_markdown(found))
    if as_json:
        click.echo(typed_json.dumps(outcome.as_plain(found), indent=2))
    else:
        show_outcomes(found)
        for one in found:
            if one.passed:
                click.echo(one.path)
    return outcome.exit_code(found)


@click.command()
@click.argument("bundle", type=DIRECTORY)
@click.option("--against", type=CHECKPOINT, help="The checkpoint: a bundle does not hold what is inside the model.")
@timeout
@click.option("--all", "every", is_flag=True, help="Show every module, not only blocks and their parts.")
@as_json
def diagnose(bundle: Path, against: Path | None, timeout_s: float, every: bool, as_json: bool) -> int:
    """Name the layer where an artifact leaves the trained model. Exits 1 if there is one."""
    from .console import Steps

    if against is None:
        raise click.UsageError(
            "expected --against CHECKPOINT: a bundle holds the trained model's outputs, not what is inside it"
        )
    with Steps() as step:
        found = api.diagnose(bundle, against, timeout_s=timeout_s, step=step)
    if as_json:
        from .views.diagnosis import as_plain

        click.echo(typed_json.dumps(as_plain(found), indent=2))
    else:
        from .views.diagnosis import show

        show(found, every=every)
    return int(found.culprit is not None)
