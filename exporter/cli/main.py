"""The command line: parses and prints, nothing else. `slide-export CKPT --target T` needs no verb."""

from __future__ import annotations

import difflib
import errno
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path

import click
from click.shell_completion import CompletionItem, get_completion_class

from slide_export import api
from slide_export.core import files, typed_json
from slide_export.core.errors import RequestError, SlideExportError, WriteError, option

from . import ending
from . import export as exporting
from . import measure as measuring
from . import prove as proving
from . import sweep as sweeping
from . import targets as managing
from .options import DIRECTORY, as_json

PROGRAM = "slide-export"
COMPLETE = "_SLIDE_EXPORT_COMPLETE"
INTERNAL_ERROR, INTERRUPTED = 70, 130  # sysexits.h EX_SOFTWARE; 128 + SIGINT: 1 is kept for a failed proof
UNREADABLE = frozenset(
    {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
)
"""What the system answers to a name that cannot be opened, whoever it is of."""


class DefaultExport(click.Group):
    """A group whose command is `export` unless another one is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `export` before arguments that name no command."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h", "--version"):
            self._refuse_misspelt(ctx, args[0])
            args = ["export", *args]
        return super().parse_args(ctx, args)

    def _refuse_misspelt(self, ctx: click.Context, word: str) -> None:
        close = difflib.get_close_matches(word, self.commands, n=1)
        if close and not Path(word).exists():
            raise click.UsageError(
                f"expected a checkpoint or a command, found {word!r}: did you mean {close[0]!r}?", ctx
            )

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete commands and, because `export` needs no verb, files."""
        return [*super().shell_complete(ctx, incomplete), CompletionItem(incomplete, type="file")]


@click.group(cls=DefaultExport, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name=PROGRAM, prog_name=PROGRAM)
def cli() -> None:
    """Turn a trained Slide-Transformer checkpoint into an artifact that is proved equal to it.

    \b
    slide-export ckpt.pt --target onnx                          export and prove; `export` is the default command
    slide-export inspect ckpt.pt                                what is in the file
    slide-export lint ckpt.pt                                   what would fail or run badly where
    slide-export run exported/ckpt-onnx-fp32 cat.jpg            what the artifact answers
    slide-export verify exported/ckpt-onnx-fp32                 repeat the proof anywhere
    slide-export diagnose exported/ckpt-onnx-fp32 --against ckpt.pt     name the layer to blame
    slide-export bench exported/ckpt-*                          how fast they are here, and which is faster
    slide-export compare --variants swin_tiny,slide_swin_tiny   the paper's figure of speeds, drawn here
    slide-export sweep plan.yaml                                checkpoints x targets x precisions, resumed and shared
    """  # noqa: D301  # the escape is click's: a paragraph that is not to be wrapped


for command in (
    exporting.export,
    exporting.inspect,
    exporting.lint,
    proving.run,
    proving.verify,
    proving.diagnose,
    measuring.bench,
    measuring.recommend,
    measuring.compare,
    measuring.report,
    sweeping.sweep,
):
    cli.add_command(command)


cli.add_command(managing.targets)
cli.add_command(managing.targets, "doctor")


@cli.command()
@click.option("--family", metavar="NAME", help="Only this one.")
@as_json
def variants(family: str | None, as_json: bool) -> None:
    """Tell which models there are: sizes, cost, published accuracy, and where each was proved."""
    found = api.variants(family)
    if as_json:
        click.echo(typed_json.dumps(found, indent=2))
        return
    from .console import show_variants

    show_variants(found)


@cli.command()
@click.option("--out", type=DIRECTORY, default=Path("exported"), show_default=True, help="Directory for the bundles.")
@as_json
def demo(out: Path, as_json: bool) -> None:
    """Export the bundled digits model, verify it and compare held-out accuracies."""
    from .console import Steps, show_demo

    with Steps() as step:
        rows = api.demo(out, step=step)
    if as_json:
        click.echo(typed_json.dumps([{**asdict(row), "path": row.path and str(row.path)} for row in rows], indent=2))
        return
    show_demo(rows)


@cli.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the completion script of a shell: eval "$(slide-export completion bash)"."""
    script = get_completion_class(shell)
    if script is None:
        raise click.UsageError(f"expected a shell that click can complete, found {shell!r}")
    click.echo(script(cli, {}, PROGRAM, COMPLETE).source())


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with a code of `core.errors`, or 128 + N where signal N asked for the end."""
    output = ending.prepare_streams()
    ending.obey_signals()
    code = run(sys.argv[1:] if arguments is None else arguments)
    sys.exit(ending.with_output(code, output))


def run(arguments: list[str]) -> int:
    """Run one command line; errors are printed, the exit code is given back."""
    try:
        return int(cli.main(arguments, prog_name=PROGRAM, complete_var=COMPLETE, standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SlideExportError as error:
        return _refused(error, arguments)
    except (Exception, KeyboardInterrupt) as error:  # click makes an Abort of the latter
        if (number := ending.signal_of(error)) is not None:
            then = "" if isinstance(error, click.exceptions.Abort | KeyboardInterrupt) else f", and then: {error}"
            click.echo(f"interrupted{then or ': nothing was written half'}", err=True)
            return 128 + number
        if (refusal := _of_the_system(error)) is not None:
            return _refused(refusal, arguments)
        traceback.print_exc()  # a bug of ours: say so, with what is needed to mend it
        click.echo("error: this is a fault of slide-export itself; please report the lines above", err=True)
        return INTERNAL_ERROR


def _refused(error: SlideExportError, arguments: list[str]) -> int:
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error.on_command_line}", err=True)
    if "--json" in arguments:
        told = {"error": error.on_command_line, "kind": type(error).__name__, "exit_code": error.exit_code}
        click.echo(typed_json.dumps(told))
    return error.exit_code


def _of_the_system(error: BaseException) -> SlideExportError | None:
    """What the system says of a file that nobody expected it of; None for another error."""
    if isinstance(error, OSError) and error.filename is not None and error.errno in UNREADABLE:
        return RequestError(f"expected to read {os.fsdecode(error.filename)}, the system says: {error.strerror}")
    if files.lacked_memory(error):
        return RequestError(
            "expected enough memory for the model and its images, the system gave none: take a smaller "
            f"{option('batch')} or {option('input_size')}, or a machine with more"
        )
    refusal = files.write_refusal(error, None)  # whatever writes results names its own place
    return None if refusal is None else WriteError(refusal)
