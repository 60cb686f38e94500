"""Option types, and options that several verbs share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from slide_export.benchmark.plan import CALLS, ROUNDS, THIS_MACHINE, TIMEOUT_S
from slide_export.core.preprocessing import EXPECTED, HELP, LARGEST_SIDE
from slide_export.core.text import foreign
from slide_export.core.whole_number import is_number
from slide_export.verification.place import TIMEOUT_S as PROOF_TIMEOUT_S


class ImageSize(click.ParamType[tuple[int, int]]):
    """`224` or `224x320`, rows first."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Rows and columns: "224" -> (224, 224), "224x320" -> (224, 320)."""
        if isinstance(value, tuple):
            return value
        numbers = str(value).split("x")
        sides = [int(part) if is_number(part) else 0 for part in numbers]
        if len(sides) > 2 or not 1 <= min(sides) <= max(sides) <= LARGEST_SIDE:
            limit = f" of at most {LARGEST_SIDE} pixels a side"
            self.fail(f"expected a size like 224 or 224x320{limit}, found {foreign(value)!r}", param, ctx)
        return sides[0], sides[-1]


class Numbers(click.ParamType[tuple[int, ...]]):
    """`1` or `1,8`."""

    name = "N,N"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Numbers, each once: "1,8,8" -> (1, 8)."""
        if isinstance(value, tuple):
            return value
        numbers = str(value).split(",")
        if not all(is_number(number) and int(number) > 0 for number in numbers):
            self.fail(f"expected numbers like 1 or 1,8, found {foreign(value)!r}", param, ctx)
        return tuple(dict.fromkeys(map(int, numbers)))


class Names(click.ParamType[tuple[str, ...]]):
    """`onnx` or `onnx,openvino`."""

    name = "NAME,NAME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Names without the blanks around them: "onnx, coreml" -> ("onnx", "coreml")."""
        return value if isinstance(value, tuple) else tuple(name.strip() for name in str(value).split(",") if name)


FILE = click.Path(path_type=Path, dir_okay=False)
CHECKPOINT = click.Path(path_type=Path)  # a file, or a folder as a hub or a trainer writes it
IMAGES = click.Path(path_type=Path)
DIRECTORY = click.Path(path_type=Path, file_okay=False)
PATTERN = click.Path(path_type=Path)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
variant = click.option("--variant", metavar="NAME", help="The model's name; recognised from the file without it.")
weights = click.option("--weights", default="raw", show_default=True, metavar="raw|ema", help="Which weights to take.")
weights_key = click.option(
    "--weights-key", metavar="NAME", help="Where in the file the weights are, where it holds several sets: a or a.b."
)
input_size = click.option(
    "--input-size", type=ImageSize(), help="Rows and columns, 224 or 224x320; the trained size without it."
)
PREPROCESSING = tuple(
    click.option(
        f"--{name}", metavar="VALUE", help=f"{HELP[name].capitalize()}, where no file tells it: {EXPECTED[name]}."
    )
    for name in EXPECTED
)
values = click.option(
    "--model",
    "values",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _parameter, pairs: read_pairs(pairs, "--model NAME=VALUE"),
    help="What no file tells of the model, heads=2,4,8,16 for instance; `inspect` lists the names. Repeatable.",
)
evaluation = click.option(
    "--eval",
    "evaluation",
    type=click.Path(path_type=Path),
    help="Images for the accuracy gate: class folders, a CSV list of file,label, pairs of the task (noisy and clean), "
    "or a directory without classes.",
)
max_drop = click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    help="What the artifact may lose on --eval: points of top-1, 1; of another figure in its unit (dB of PSNR, 0.1).",
)
min_sqnr = click.option(
    "--min-sqnr", "min_sqnr_db", type=float, help="Decibels that --eval asks of the outputs; 20 without classes."
)
keep = click.option("--keep", is_flag=True, help="Leave on --device what was copied there, and tell where.")

timeout = click.option(
    "--timeout",
    "timeout_s",
    type=float,
    default=PROOF_TIMEOUT_S,
    show_default=True,
    help="Seconds for an artifact to load, or to answer a batch.",
)

MEASURING = (
    click.option(
        "--batch", "batches", type=Numbers(), default="1", show_default=True, help="Images in a call: 1 or 1,8."
    ),
    click.option(
        "--rounds", type=click.IntRange(min=1), default=ROUNDS, show_default=True, help="6 or more for a verdict."
    ),
    click.option("--calls", type=click.IntRange(min=1), default=CALLS, show_default=True, help="Of each, in a round."),
    click.option("--threads", type=click.IntRange(min=1), help="Of each runtime; one a processor without it."),
    click.option("--profile", is_flag=True, help="Time each operator too, in a run of its own."),
    click.option(
        "--stand-in", "stand_ins", is_flag=True, help="Measure an evaluator where the target's runtime is not."
    ),
    click.option(
        "--device",
        default=THIS_MACHINE,
        metavar="NAME|URL",
        help="What the result calls this machine; or another one: ssh://[user@]host[:port][/directory], adb:SERIAL.",
    ),
    keep,
    click.option("--runner", type=FILE, help="For adb: onnxruntime_perf_test or benchmark_app, built for the phone."),
    click.option(
        "--timeout", "timeout_s", type=float, default=TIMEOUT_S, show_default=True, help="Seconds to load, or a round."
    ),
)


def refuse_old_form(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
    """Refuse `--lowering`, the name that `--form` had before schema 2."""
    if value is not None:
        raise click.UsageError(f"--lowering is now --form: give --form {value}")


def preprocessing(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add mean, std, resize, crop and interpolation to a command, in this order."""
    for option in reversed(PREPROCESSING):
        command = option(command)
    return command


def measuring(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a measurement to a command, in their order."""
    for option in reversed(MEASURING):
        command = option(command)
    return command


def read_pairs(pairs: tuple[str, ...], form: str = "--option NAME=VALUE") -> dict[str, str]:
    """Parse NAME=VALUE pairs; `form` is how the message names them.

    Raises:
        click.UsageError: a pair has no `=`.
    """
    if bare := [pair for pair in pairs if "=" not in pair]:
        raise click.UsageError(f"expected {form}, found {bare[0]!r}")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}
