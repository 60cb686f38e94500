"""ServedModel -> an asset whose bytes follow from the model alone."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.backends import script
from slide_export.backends.interface import LoweringOptions, Option
from slide_export.core.artifact import LARGEST_BATCH, Artifact, Outputs
from slide_export.core.errors import BundleError, LoweringError
from slide_export.core.precision import FP16
from slide_export.core.text import foreign
from slide_export.inference.served import ServedModel

from . import bytecode
from .asset import HASH, METADATA, PROGRAM, digest, read_asset
from .names import steady
from .settings import Settings

FOLDER = "model.aimodel"
OPTIONS: Mapping[str, Option] = {}
SCRIPT = Path(__file__).with_name("convert.py")
DATED = "creationDate"
"""What `metadata.json` has of the clock, whatever it is told; an asset loads without it."""


def lower(source: ServedModel, directory: Path, options: LoweringOptions) -> Artifact:
    """Write `model.aimodel`: the same bytes for the same model.

    Raises:
        LoweringError: torch.export or Core AI cannot express the model, or cannot run it.
    """
    from slide_export.inference.foreign_module import specs

    path, batch = directory / FOLDER, options.interface.batch
    functions = _convert(source, options, path)
    try:
        _make_steady(path, functions)
        count = sum(number for _, number in read_asset(path).counts)
    except (RuntimeError, ValueError, BundleError) as error:
        raise LoweringError(f"expected a model that Core AI can write, it says: {foreign(error, 300)}") from error
    settings: Settings = {
        "inputs": source.input_names,
        "outputs": source.output_names,
        "batch": batch,
        "operations": count,
    }
    found = _run_once(source, path, settings)
    return Artifact("coreai", options.precision, path, *specs(source, found, batch), dict(settings))


def _convert(source: ServedModel, options: LoweringOptions, path: Path) -> tuple[str, ...]:
    """Write the asset of a model, in its precision, at a fixed batch or for any; names of its program's functions.

    coreai-torch 0.4.3 raises what its lowerings do, and at some models it ends its process, which is not this one.
    """
    from slide_export.inference.foreign_module import export_program, foreign_module, save_program
    from slide_export.inference.half import in_half

    module = foreign_module(source)
    if options.precision == FP16:
        _refuse_half(source)
        module = in_half(module)
    step = source.coupled
    largest = None if options.interface.batch else LARGEST_BATCH // step * step
    with tempfile.TemporaryDirectory() as temporary:
        program = Path(temporary, "model.pt2")
        save_program(export_program(source, module, largest=largest), module, program)
        job: dict[str, Any] = {
            "program": str(program),
            "inputs": source.input_names,
            "outputs": source.output_names,
            "asset": str(path.resolve()),
        }
        made = script.run(Path(sys.executable), SCRIPT, job)
    return tuple(made["functions"])


def _refuse_half(source: ServedModel) -> None:
    """Refuse float16 for a model with modules that it does not hold: a program here has one type throughout.

    Raises:
        LoweringError: names them.
    """
    if source.trained.float32:
        raise LoweringError(
            f"expected a model that float16 holds for coreai, {source.trained.family} keeps "
            f"{', '.join(source.trained.float32)} in float32: take fp32"
        )


def _make_steady(path: Path, names: tuple[str, ...]) -> None:
    """Take out of an asset what another process would have written otherwise: drawn names, the time, orders."""
    program, metadata = path / PROGRAM, path / METADATA
    program.write_bytes(steady(bytecode.read(program), names).written())
    (path / HASH).write_bytes(digest(program))
    told = json.loads(metadata.read_text("utf-8"))
    told.pop(DATED, None)
    metadata.write_text(json.dumps(told, indent=2, sort_keys=True, allow_nan=False) + "\n", "utf-8")


def _run_once(source: ServedModel, path: Path, settings: Settings) -> Outputs:
    """Run the saved asset once, at the smallest batch that it takes.

    Raises:
        LoweringError: it does not run, or gives another number of results.
    """
    from .session import Session

    count = settings["batch"] or source.coupled
    images = [fed[:1].numpy().repeat(count, axis=0) for fed in source.example()]
    try:
        found = Session(path, settings).run(dict(zip(source.input_names, images, strict=True)))
    except BundleError as error:
        raise LoweringError(f"expected an asset that Core AI's own runtime runs, found it does not: {error}") from error
    if any(len(value) != count for value in found.values()):
        shapes = ", ".join(str(value.shape) for value in found.values())
        raise LoweringError(f"expected {count} results in one call, found outputs of {shapes}")
    return found
