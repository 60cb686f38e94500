"""The command line: parses and prints, nothing else. `slide-export CKPT --target T` needs no verb."""

from __future__ import annotations

import difflib
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from . import api
from .errors import SlideExportError

PROGRAM = "slide-export"
COMPLETE = "_SLIDE_EXPORT_COMPLETE"
INTERNAL_ERROR, INTERRUPTED = 70, 130  # sysexits.h EX_SOFTWARE; 128 + SIGINT: 1 is kept for a failed proof


class DefaultExport(click.Group):
    """A group whose command is `export` unless another one is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Puts `export` before arguments that name no command."""
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
        """Completes commands and, because `export` needs no verb, files."""
        return [*super().shell_complete(ctx, incomplete), CompletionItem(incomplete, type="file")]


class ImageSize(click.ParamType[tuple[int, int]]):
    """`224` or `224x320`, rows first."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Returns rows and columns."""
        if isinstance(value, tuple):
            return value
        numbers = str(value).split("x")
        if not 1 <= len(numbers) <= 2 or not all(number.isdigit() and int(number) > 0 for number in numbers):
            self.fail(f"expected a size like 224 or 224x320, found {value!r}", param, ctx)
        return int(numbers[0]), int(numbers[-1])


class Numbers(click.ParamType[tuple[int, ...]]):
    """`1` or `1,8`."""

    name = "N,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Returns the numbers, each once."""
        if isinstance(value, tuple):
            return value
        numbers = str(value).split(",")
        if not all(number.isdigit() and int(number) > 0 for number in numbers):
            self.fail(f"expected numbers like 1 or 1,8, found {value!r}", param, ctx)
        return tuple(dict.fromkeys(map(int, numbers)))


class Names(click.ParamType[tuple[str, ...]]):
    """`onnx` or `onnx,openvino`."""

    name = "NAME,NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Returns the names."""
        return value if isinstance(value, tuple) else tuple(name.strip() for name in str(value).split(",") if name)


CHECKPOINT = click.Path(path_type=Path, dir_okay=False)
IMAGES = click.Path(path_type=Path)
DIRECTORY = click.Path(path_type=Path, file_okay=False)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
variant = click.option("--variant", metavar="NAME", help="The model's name; recognised from the file without it.")
weights = click.option("--weights", default="raw", show_default=True, metavar="raw|ema", help="Which weights to take.")
input_size = click.option(
    "--input-size", type=ImageSize(), help="Rows and columns, 224 or 224x320; the trained size without it."
)
evaluation = click.option(
    "--eval",
    "evaluation",
    type=click.Path(path_type=Path),
    help="Images for the accuracy gate: class folders, a CSV list of file,label, or a directory without classes.",
)
max_drop = click.option(
    "--max-drop", type=click.FloatRange(min=0), help="Points of top-1 that the artifact may lose on --eval; 1."
)
min_sqnr = click.option(
    "--min-sqnr", "min_sqnr_db", type=float, help="Decibels that --eval without classes asks of the outputs; 20."
)

MEASURING = (
    click.option(
        "--batch", "batches", type=Numbers(), default="1", show_default=True, help="Images in a call: 1 or 1,8."
    ),
    click.option(
        "--rounds", type=click.IntRange(min=1), default=20, show_default=True, help="6 or more for a verdict."
    ),
    click.option("--calls", type=click.IntRange(min=1), default=5, show_default=True, help="Of each, in a round."),
    click.option("--threads", type=click.IntRange(min=1), help="Of each runtime; one a processor without it."),
    click.option("--profile", is_flag=True, help="Time each operator too, in a run of its own."),
    click.option(
        "--stand-in", "stand_ins", is_flag=True, help="Measure an evaluator where the target's runtime is not."
    ),
    click.option("--device", default="this machine", metavar="NAME", help="What the result calls this machine."),
    click.option(
        "--timeout", "timeout_s", type=float, default=300.0, show_default=True, help="Seconds to load, or a round."
    ),
)


def measuring(command: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the command with the options of a measurement, in their order."""
    for option in reversed(MEASURING):
        command = option(command)
    return command


@click.group(cls=DefaultExport, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name=PROGRAM, prog_name=PROGRAM)
def cli() -> None:
    r"""Turn a trained Slide-Transformer checkpoint into an artifact that is proved equal to it.

    \b
    slide-export ckpt.pt --target onnx        export and prove; `export` is the default command
    slide-export inspect ckpt.pt              what is in the file
    slide-export lint ckpt.pt                 what would fail or run badly where
    slide-export verify exported/ckpt-onnx-fp32   repeat the proof anywhere
    slide-export bench exported/ckpt-*        how fast they are on this machine, and which is faster
    slide-export diagnose exported/ckpt-onnx-fp32.rejected --against ckpt.pt   name the layer to blame
    """


@cli.command()
@click.argument("checkpoint", type=CHECKPOINT)
@click.option("--target", default="onnx", show_default=True, metavar="NAME", help="See `targets`; `all` takes each.")
@click.option("--precision", default="fp32", show_default=True, metavar="NAME", help="One that the target has.")
@click.option("--out", type=DIRECTORY, default=Path("exported"), show_default=True, help="Directory for the bundle.")
@click.option("--name", help="Name of the bundle; the checkpoint's file name without it.")
@click.option("--overwrite", is_flag=True, help="Replace a bundle of the same name.")
@variant
@weights
@input_size
@click.option(
    "--lowering",
    default="auto",
    show_default=True,
    metavar="NAME[,NAME]",
    help="Form of slide attention, or one for each stage that slides: auto, grouped, taps, token_taps, shifts, "
    "gemm_per_tap, gemm_stacked, gemm_stacked_tokens.",
)
@click.option("--tune", is_flag=True, help="Measure every form on this machine and take the fastest.")
@click.option("--batch", type=click.IntRange(min=1), help="A fixed batch size; dynamic without it.")
@click.option("--embed-preprocessing", is_flag=True, help="Take uint8 [B, H, W, 3] RGB; normalise inside.")
@click.option("--softmax", is_flag=True, help="Return probabilities.")
@click.option("--features", is_flag=True, help="Return the four stage maps (strides 4 to 32) instead of logits.")
@click.option("--labels", type=CHECKPOINT, help="Text file of class names, one a line, for the metadata.")
@click.option("--images", type=IMAGES, help="Real images for proof and calibration: folder, zip, npz, CSV list.")
@click.option("--image-count", type=click.IntRange(min=1), default=8, show_default=True, help="How many at most.")
@evaluation
@max_drop
@min_sqnr
@click.option("--keep-fp32", multiple=True, metavar="MODULE", help="PyTorch module that stays in float; repeatable.")
@click.option(
    "--mixed-base",
    type=click.Choice(["int8", "fp16"]),
    default="int8",
    show_default=True,
    help="What --precision mixed mixes with float.",
)
@click.option("--calibration-size", type=click.IntRange(min=1), default=300, show_default=True, help="Images for int8.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws the calibration images.")
@click.option("--quantization-recipe", type=CHECKPOINT, help="YAML of what is quantized, as a bundle has it.")
@click.option("-o", "--option", "pairs", multiple=True, metavar="NAME=VALUE", help="What the target alone understands.")
@click.option("--trt-flavor", type=click.Choice(["tensorrt", "rtx"]), help="Short for --option flavor=NAME.")
@click.option("--timeout", type=float, default=900.0, show_default=True, help="Seconds for one of `--target all`.")
@click.option("--jobs", type=click.IntRange(min=1), default=2, show_default=True, help="How many of `all` at a time.")
@as_json
def export(
    target: str,
    labels: Path | None,
    pairs: tuple[str, ...],
    trt_flavor: str | None,
    timeout: float,
    jobs: int,
    as_json: bool,
    **options: Any,
) -> int:
    """Export a checkpoint and prove the artifact equal to it."""
    pairs += (f"flavor={trt_flavor}",) if trt_flavor else ()
    options |= {"labels": _read_labels(labels), "options": _read_pairs(pairs)}
    if target == "all":
        return _export_all(as_json, options | {"timeout_s": timeout, "jobs": jobs})
    from .console import Steps, show_export

    with Steps() as step:
        bundle = api.export(**options, target=target, step=step)
    if as_json:
        click.echo(json.dumps(bundle.manifest, indent=2))
    else:
        show_export(bundle.manifest)
        click.echo(bundle.path)
    return 0


def _export_all(as_json: bool, options: dict[str, Any]) -> int:
    """Returns the worst exit code of the targets."""
    from .console import Steps, show_every_target
    from .every_target import worst

    with Steps() as step:
        results = api.export_all(**options, step=step)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in results], indent=2, default=str))
    else:
        show_every_target(results)
        click.echo("\n".join(str(result.bundle.path) for result in results if result.bundle))
    return worst(results)


@cli.command()
@click.argument("checkpoint", type=CHECKPOINT)
@variant
@weights
@input_size
@as_json
def inspect(as_json: bool, checkpoint: Path, **options: Any) -> None:
    """Tell what is in a checkpoint: variant, sizes, parameters, multiply-adds, drift."""
    found = api.inspect(checkpoint, **options)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    from .console import show_inspection

    show_inspection(found)


@cli.command()
@click.argument("subject", type=click.Path(path_type=Path))
@click.option("--target", "targets", multiple=True, metavar="NAME", help="For which target; all without it.")
@as_json
def lint(subject: Path, targets: tuple[str, ...], as_json: bool) -> int:
    """Tell what would fail or run badly where: of a checkpoint, .onnx, .mlpackage or bundle. Exits 1 on an error."""
    found = api.lint(subject, targets)
    if as_json:
        click.echo(json.dumps([asdict(finding) for finding in found], indent=2))
    else:
        from .console import show_findings

        show_findings(subject, found)
    return int(any(finding.severity == "error" for finding in found))


@cli.command()
@click.argument("bundle", type=DIRECTORY)
@click.option("--against", type=CHECKPOINT, help="Derive the reference from this checkpoint anew.")
@evaluation
@max_drop
@min_sqnr
@as_json
def verify(bundle: Path, against: Path | None, evaluation: Path | None, as_json: bool, **limits: Any) -> None:
    """Repeat a bundle's proof, from its golden file alone or against the checkpoint."""
    from .console import Steps, show_accuracy, show_parity

    if evaluation is not None and against is None:
        raise click.UsageError("expected --against with --eval: accuracy is compared with the checkpoint's own")
    with Steps() as step:
        proof = api.verify(bundle, against, step=step)
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


@cli.command()
@click.argument("bundles", nargs=-1, required=True, type=DIRECTORY)
@measuring
@click.option("-o", "--result", "out", type=CHECKPOINT, help="File for the result, JSON.")
@as_json
def bench(bundles: tuple[Path, ...], out: Path | None, as_json: bool, **options: Any) -> None:
    """Measure bundles on this machine, in interleaved rounds, and tell which is faster."""
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise click.UsageError(f"expected a file in a directory that exists for the result, found {out}")
    from . import result
    from .console import Steps, show_result

    with Steps(calm=True) as step:
        found = api.bench(bundles, **options, step=step)
    if out is not None:
        result.write(found, out)
    if as_json:
        click.echo(result.to_json(found), nl=False)
        return
    show_result(found, stderr=out is not None)
    if out is not None:
        click.echo(out)


@cli.command()
@click.argument("bundles", nargs=-1, required=True, type=DIRECTORY)
@measuring
@as_json
def recommend(bundles: tuple[Path, ...], as_json: bool, **options: Any) -> None:
    """Measure bundles of one checkpoint on this machine and tell which to ship, and why."""
    from .console import Steps, show_result

    with Steps(calm=True) as step:
        found, measured = api.recommend(bundles, **options, step=step)
    if as_json:
        click.echo(json.dumps(asdict(found), indent=2))
        return
    show_result(measured, stderr=True)
    click.echo(found.sentence)


@cli.command()
@click.option("--variants", type=Names(), required=True, help="Names of models, im2col_swin_tiny and its like too.")
@click.option("--targets", type=Names(), default="onnx", show_default=True, help="Each in a sitting of its own.")
@click.option("--checkpoint", "pairs", multiple=True, metavar="VARIANT=PATH", help="Trained weights; else random ones.")
@click.option("--precision", default="fp32", show_default=True, metavar="NAME", help="One that the targets have.")
@input_size
@click.option("-o", "--out", type=DIRECTORY, default=Path("compared"), show_default=True, help="Where results go.")
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@measuring
@as_json
def compare(pairs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Measure variants beside each other on this machine, and draw the paper's figure of speeds anew.

    Each variant is exported and proved; without a checkpoint it has random weights, which cost the same time. The
    others are told beside the first.
    """
    from .console import Steps, show_result

    with Steps() as step:
        found, paths = api.compare(**options, checkpoints=_read_pairs(pairs, "--checkpoint VARIANT=PATH"), step=step)
    if as_json:
        click.echo(json.dumps([asdict(result) for result in found], indent=2))
        return
    for result in found:
        show_result(result, stderr=True)
    click.echo("\n".join(map(str, paths)))


@cli.command()
@click.argument("results", nargs=-1, required=True, type=CHECKPOINT)
@click.option(
    "-o",
    "--out",
    "outs",
    multiple=True,
    type=CHECKPOINT,
    default=(Path("report.html"),),
    show_default="report.html",
    help="Where to; .html or .md, repeat it for both.",
)
def report(results: tuple[Path, ...], outs: tuple[Path, ...]) -> None:
    """Write what results say as one page for people: decision, plots, every number, doubts.

    RESULTS are files of `bench` or `compare`, from this machine or others: runs of one sitting are compared, sittings
    are put side by side.
    """
    click.echo("\n".join(map(str, api.report(results, outs))))


@cli.command()
@click.argument("bundle", type=DIRECTORY)
@click.option("--against", type=CHECKPOINT, help="The checkpoint: a bundle does not hold what is inside the model.")
@click.option("--all", "every", is_flag=True, help="Show every module, not only blocks and their parts.")
@as_json
def diagnose(bundle: Path, against: Path | None, every: bool, as_json: bool) -> int:
    """Name the layer where an artifact leaves the trained model. Exits 1 if there is one."""
    from .console import Steps

    if against is None:
        raise click.UsageError(
            "expected --against CHECKPOINT: a bundle holds the trained model's outputs, not what is inside it"
        )
    with Steps() as step:
        found = api.diagnose(bundle, against, step=step)
    if as_json:
        from .diagnosis.table import as_plain

        click.echo(json.dumps(as_plain(found), indent=2))
    else:
        from .diagnosis.table import show

        show(found, every=every)
    return int(found.culprit is not None)


@cli.command()
@as_json
def targets(as_json: bool) -> None:
    """Tell which targets can be used here and how to install the rest."""
    found = api.targets()
    if as_json:
        click.echo(json.dumps([{**asdict(t), "ready": t.ready, "proves": t.proves} for t in found], indent=2))
        return
    from .console import show_targets

    show_targets(found)


cli.add_command(targets, "doctor")


@cli.command()
@click.option("--family", metavar="NAME", help="Only this one.")
@as_json
def variants(family: str | None, as_json: bool) -> None:
    """Tell which models there are: sizes, cost, published accuracy, and where each was proved."""
    found = api.variants(family)
    if as_json:
        click.echo(json.dumps([asdict(entry) for entry in found], indent=2))
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
        click.echo(json.dumps([asdict(row) for row in rows], indent=2, default=str))
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


def _read_labels(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        return tuple(line.strip() for line in path.read_text().splitlines() if line.strip())
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"expected a text file of class names, {path} cannot be read: {error}") from error


def _read_pairs(pairs: tuple[str, ...], form: str = "--option NAME=VALUE") -> dict[str, str]:
    if bare := [pair for pair in pairs if "=" not in pair]:
        raise click.UsageError(f"expected {form}, found {bare[0]!r}")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and exits: 0 done, 1 proof failed, 2 bad request or input, 3 backend not installed."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Returns the exit code of one command line."""
    try:
        return int(cli.main(arguments, prog_name=PROGRAM, complete_var=COMPLETE, standalone_mode=False) or 0)
    except click.exceptions.Abort:
        click.echo("interrupted: nothing was written", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SlideExportError as error:
        click.echo(f"{click.style('error:', fg='red', bold=True)} {error}", err=True)
        if "--json" in arguments:
            click.echo(json.dumps({"error": str(error), "kind": type(error).__name__, "exit_code": error.exit_code}))
        return error.exit_code
    except Exception:  # a bug of ours: say so, with what is needed to mend it
        traceback.print_exc()
        click.echo("error: this is a fault of slide-export itself; please report the lines above", err=True)
        return INTERNAL_ERROR
