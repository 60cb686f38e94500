"""The plan of a sweep: a YAML file -> `SweepPlan`; what it does not know is refused with the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from slide_export.calibration.parts import CHUNK_IMAGES
from slide_export.calibration.plain_yaml import read_mapping
from slide_export.core import typed_json
from slide_export.core.errors import RequestError
from slide_export.core.text import foreign
from slide_export.core.typed_json import FieldError, Least, Size

from .stages import OF_PLANS

SCHEMA = "slide-export/plan/1"
Names = tuple[str, ...]
Seconds = Annotated[float, Least(1)]


@dataclass(frozen=True)
class Checkpoints:
    """Checkpoints that a plan names together.

    Attributes:
        path: a file, a folder, a glob of them, or a URL.
        options: of these alone: `variant`, `weights`, `input_size` and what else of an export's options is of a model.
    """

    path: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatePart:
    """What accuracy is measured on.

    Attributes:
        images: class folders, a folder without classes, or a CSV list.
        shard_images: files in a shard, a multiple of 48.
    """

    images: str
    shard_images: Size = 1920
    max_drop: float | None = None
    min_sqnr_db: float | None = None


@dataclass(frozen=True)
class BenchPart:
    """What is measured where.

    Attributes:
        on: what a worker has to offer: {board: pi5}, {gpu: 1}.
        targets, precisions: those that are measured; all without.
        together: bundles of all checkpoints in one sitting; else a sitting each.
        sitting: another number measures again.
    """

    on: Mapping[str, str | float | int] = field(default_factory=dict)
    targets: Names = ()
    precisions: Names = ()
    together: bool = False
    batch: Size = 1
    rounds: Size = 6
    calls: Size = 20
    threads: Size | None = None
    sitting: Size = 1
    timeout_s: Seconds = 900.0


@dataclass(frozen=True)
class VerifyPart:
    """Where bundles are proved again; as `BenchPart` says."""

    on: Mapping[str, str | float | int] = field(default_factory=dict)
    targets: Names = ()


@dataclass(frozen=True)
class Needs:
    """What a job of a stage takes of its worker."""

    memory_gib: Annotated[float, Least(0)] | None = None
    slot: Annotated[float, Least(1)] = 1


@dataclass(frozen=True)
class Limits:
    """When a job is given up.

    Attributes:
        timeout_s: of a job's child process.
        deaths: workers that die with a job before it is poison.
        crashes: of a job's child process before it is poison.
        in_flight: jobs that are handed to workers at a time, at most.
    """

    timeout_s: Seconds = 900.0
    deaths: Size = 3
    crashes: Size = 2
    in_flight: Size = 256


@dataclass(frozen=True)
class SweepPlan:
    """A whole plan, as its file says it.

    Attributes:
        store: of artifacts: a directory or a URL that fsspec knows.
        options: each an axis: the values that an option of an export takes in turn.
        exclude: what is not made: target, precision, checkpoint (a glob) and options that go together.
        images: of the proof and the calibration.
        pins: what else artifacts depend on, by name, as its hash: a pin of a target's name is of that target's alone.
        verify: of every bundle, where its target runs; an empty list proves nothing again.
    """

    schema: Literal["slide-export/plan/1"]
    checkpoints: tuple[Checkpoints, ...]
    targets: Names
    precisions: Names = ("fp32",)
    store: str = "fleet"
    options: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    exclude: tuple[Mapping[str, Any], ...] = ()
    images: str | None = None
    pins: Mapping[str, str] = field(default_factory=dict)
    verify: tuple[VerifyPart, ...] = (VerifyPart(),)
    evaluate: EvaluatePart | None = None
    bench: tuple[BenchPart, ...] = ()
    needs: Mapping[str, Needs] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)


def read(path: Path) -> tuple[str, SweepPlan]:
    """The text of a plan and what it says.

    Raises:
        RequestError: the file cannot be read, or is no plan.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"expected the plan of a sweep, {foreign(path, 300)} cannot be read: {error}") from error
    return text, parse(text, path.name)


def parse(text: str, name: str) -> SweepPlan:
    """The plan in a YAML text.

    Raises:
        RequestError: it is no YAML mapping, a field is unknown, missing or of another type.
    """
    content = _long_forms(_with_text_names(read_mapping(text, name)))
    try:
        plan = typed_json.read(SweepPlan, content)
    except FieldError as error:
        raise RequestError(f"{name}: {_worded(error)}") from error
    if plan.evaluate is not None and plan.evaluate.shard_images % CHUNK_IMAGES:
        raise RequestError(
            f"{name}: expected evaluate.shard_images to be a multiple of {CHUNK_IMAGES}, the images of a chunk, found "
            f"{plan.evaluate.shard_images}"
        )
    for section, found in (
        ("checkpoints", plan.checkpoints),
        ("targets", plan.targets),
        ("precisions", plan.precisions),
    ):
        if not found:
            raise RequestError(f"{name}: expected at least one entry in {section}, found none")
    _refuse_strangers(plan, name)
    for on in (*(part.on for part in plan.bench), *(part.on for part in plan.verify)):
        for offer, amount in on.items():
            if not offer or not amount or (not isinstance(amount, str) and amount < 0):
                raise RequestError(
                    f"{name}: expected what a worker offers, gpu: 1 or board: pi5, in on, found "
                    f"{foreign(f'{offer}: {amount}')!r}"
                )
    return plan


def _refuse_strangers(plan: SweepPlan, name: str) -> None:
    """Refuse names that nothing of the plan has: what they were meant for would not happen, and nobody would say so."""
    named = [("needs", "a stage", stage, tuple(OF_PLANS)) for stage in plan.needs]
    for place, parts in (("bench", plan.bench), ("verify", plan.verify)):
        named += [(place, "a target of the plan", one, plan.targets) for part in parts for one in part.targets]
    named += [
        ("bench", "a precision of the plan", one, plan.precisions) for part in plan.bench for one in part.precisions
    ]
    for place, what, one, known in named:
        if one not in known:
            raise RequestError(f"{name}: expected {what} in {place}, found {foreign(one)!r}: {_nearest(one, known)}")


def _with_text_names(value: Any) -> Any:
    """Mappings with names that are text: YAML 1.1 reads `on:` as true, and numbers as numbers."""
    if isinstance(value, dict):
        return {"on" if name is True else str(name): _with_text_names(inner) for name, inner in value.items()}
    return [_with_text_names(inner) for inner in value] if isinstance(value, list) else value


def _long_forms(content: dict[Any, Any]) -> dict[Any, Any]:
    """Short forms as the long ones: a path alone is a mapping, a value alone is a list of one.

    Given   checkpoints: [a.pth, {path: b.pth, variant: v}]    options: {form: auto}
    Result  checkpoints: [{path: a.pth}, {path: b.pth, options: {variant: v}}]    options: {form: [auto]}
    """
    found = dict(content)
    for name in ("checkpoints", "targets", "precisions", "bench", "verify"):
        if name in found and not isinstance(found[name], list):
            found[name] = [found[name]]
    if isinstance(found.get("checkpoints"), list):
        found["checkpoints"] = [_checkpoints(entry) for entry in found["checkpoints"]]
    if isinstance(found.get("options"), dict):
        options = found["options"]
        found["options"] = {name: value if isinstance(value, list) else [value] for name, value in options.items()}
    return found


def _checkpoints(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return {"path": entry}
    options = {name: value for name, value in entry.items() if name != "path"}
    return {**({"path": entry["path"]} if "path" in entry else {}), "options": options}


def _worded(error: FieldError) -> str:
    """The sentence of a field that does not fit, with the nearest name of one that does not exist."""
    if not error.expected.startswith("absent"):
        return str(error)
    known = error.expected.partition("the fields are ")[2].rstrip(")").split(", ")
    place, _, unknown = error.where.rpartition(".")
    return f"expected a field of {place or 'a plan'}, found {foreign(unknown)!r}: {_nearest(unknown, known)}"


def _nearest(unknown: str, known: Sequence[str]) -> str:
    """The known name that was meant, or all of them."""
    close = difflib.get_close_matches(unknown, known, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
