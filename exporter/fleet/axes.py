"""A plan's axes -> the artifacts that it asks for; what no backend offers is refused before any work."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, cast

from slide_export.backends import registry
from slide_export.core import typed_json
from slide_export.core.errors import BackendUnavailable, RequestError, SlideExportError
from slide_export.core.typed_json import FieldError
from slide_export.workflows.options import ExportOptions, refuse_unknown, request_of
from slide_export.workflows.resolve import resolve

from .plan import Checkpoints, SweepPlan
from .sources import Source

OF_SOURCE = frozenset(
    {"variant", "weights", "weights_key", "input_size", "mean", "std", "resize", "crop", "interpolation", "form",
     "image_count", "batch", "embed_preprocessing", "softmax", "features", "output", "nms", "labels", "keep_fp32",
     "values"}
)  # fmt: skip
"""Options that a checkpoint is prepared with."""
ELSEWHERE = {
    "precision": "precisions", "out": "store", "name": "checkpoints", "images": "images", "evaluation": "evaluate",
    "max_drop": "evaluate", "min_sqnr_db": "evaluate",
}  # fmt: skip
"""Options of an export that are a part of a plan by another name."""
KINDS: Mapping[str, Any] = {
    "str": str, "str | None": str | None, "bool": bool, "int": int, "int | None": int | None,
    "tuple[int, int] | None": tuple[int, int] | None, "Mapping[str, str]": Mapping[str, str],
    "Sequence[str]": tuple[str, ...],
}  # fmt: skip
"""What a YAML file holds of each type of an option."""
NEVER = {
    "tune": "what it finds is of the machine that it runs on",
    "overwrite": "an artifact is made once",
    "families": "workers do not know those of the caller's own",
    "tasks": "workers do not know those of the caller's own",
    "quantization_recipe": "the workers have no such file: keep_fp32 is available",
}


@dataclass(frozen=True)
class Cell:
    """One artifact that a plan asks for.

    Attributes:
        checkpoint: its name in this plan.
        options: of the export, plain values by name, precision and name with them.
    """

    checkpoint: str
    source: Source
    target: str
    options: Mapping[str, Any]

    @property
    def precision(self) -> str:
        """The precision that is asked for."""
        return str(self.options["precision"])

    def prepared_with(self) -> dict[str, Any]:
        """The options that the checkpoint is prepared with."""
        return {name: value for name, value in self.options.items() if name in OF_SOURCE}

    def subject(self, axes: Sequence[str]) -> str:
        """What people call it; of the options those that the plan varies."""
        varied = [f"{name}={self.options[name]}" for name in axes if name in self.options]
        return " ".join((self.checkpoint, self.target, self.precision, *varied))


def cells(
    plan: SweepPlan, checkpoints: Sequence[tuple[str, Source, Checkpoints]], images: Path | None
) -> Iterator[Cell]:
    """The artifacts of a plan, a checkpoint's together.

    Raises:
        RequestError: an option or a combination is not available, or nothing is left.
    """
    _refuse_options(plan)
    judged: dict[str, None] = {}
    idle = list(plan.exclude)
    count = 0
    for name, source, entry in checkpoints:
        for target, precision, varied in _combinations(plan):
            options = {**varied, **entry.options, "precision": precision, "name": name}
            options = _for_target(options, target)
            if rules := [rule for rule in plan.exclude if _excludes(rule, name, target, options)]:
                idle = [rule for rule in idle if rule not in rules]
                continue
            _refuse(target, options, source, images, judged)
            count += 1
            yield Cell(name, source, target, options)
    if not count:
        raise RequestError("expected at least one artifact of a plan, found all of them excluded")
    if idle:
        said = ", ".join(f"{name}: {value}" for name, value in idle[0].items())
        raise RequestError(
            f"expected an exclude that takes artifacts away, found {{{said}}}, which none is: leave it out"
        )


def _combinations(plan: SweepPlan) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for target, precision in itertools.product(plan.targets, plan.precisions):
        for values in itertools.product(*plan.options.values()):
            yield target, precision, dict(zip(plan.options, values, strict=True))


def _for_target(options: dict[str, Any], target: str) -> dict[str, Any]:
    """The options with those of a backend that this one knows."""
    if "options" not in options:
        return options
    known = registry.load(target).OPTIONS
    return {**options, "options": {name: value for name, value in options["options"].items() if name in known}}


def _refuse_options(plan: SweepPlan) -> None:
    """Refuse options that a plan cannot vary, each with where it belongs."""
    for target in plan.targets:
        registry.load(target)
    alone = [{name: (value,) for name, value in entry.options.items()} for entry in plan.checkpoints]
    for options in (plan.options, *alone):
        for name in options:
            if name in ELSEWHERE:
                raise RequestError(f"expected {name} as the plan's own {ELSEWHERE[name]}, found it among the options")
            if name in NEVER:
                raise RequestError(f"{name} is not available in a sweep: {NEVER[name]}")
        refuse_unknown(options)
        for name, values in options.items():
            for value in values:
                _refuse_kind(name, value)
    for rule in plan.exclude:
        known = {"checkpoint", "target", "precision"} | ExportOptions.__annotations__.keys()
        if unknown := [name for name in rule if name not in known]:
            raise RequestError(
                f"expected checkpoint, target, precision or an option in exclude, found {unknown[0]!r}: leave it out"
            )


def _refuse_kind(name: str, value: Any) -> None:
    """Refuse a value of another type than an option's own; those of preprocessing are judged where they are read."""
    kind = KINDS.get(_annotation(name))
    if kind is None:
        return
    try:
        typed_json.read(kind, value, f"options.{name}")
    except FieldError as error:
        raise RequestError(f"the plan: {error}") from error


def _annotation(name: str) -> str:
    """The type of an option as `ExportOptions` writes it."""
    found = ExportOptions.__annotations__[name]
    return str(getattr(found, "__forward_arg__", found))


def _excludes(rule: Mapping[str, Any], checkpoint: str, target: str, options: Mapping[str, Any]) -> bool:
    """Whether all that a rule names is so."""
    found = {**options, "checkpoint": checkpoint, "target": target}
    return bool(rule) and all(
        fnmatchcase(found[name], value)
        if isinstance(value, str) and isinstance(found.get(name), str)
        else found.get(name) == value
        for name, value in rule.items()
    )


def _refuse(
    target: str, options: Mapping[str, Any], source: Source, images: Path | None, judged: dict[str, None]
) -> None:
    """Refuse what the request alone decides, once a combination; what is not installed is the workers' affair."""
    what = repr((target, sorted((name, repr(value)) for name, value in options.items() if name != "name")))
    if what in judged:
        return
    judged[what] = None
    given = {**options, "out": Path("fleet-planned")}
    if images is not None:
        given["images"] = images
    if isinstance(given.get("input_size"), list):
        given["input_size"] = tuple(given["input_size"])
    try:
        resolve(request_of(source.path or Path(source.name), target, cast("ExportOptions", given)))
    except BackendUnavailable:
        return
    except SlideExportError as error:
        raise RequestError(
            f"{target} {options['precision']} of the plan: {error}; or leave it out with an entry in exclude"
        ) from error
