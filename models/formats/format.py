"""What a library's checkpoint format offers: how it is told apart, its key map, and how its own files are read."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Tensor

from slide_export.models.data import DataConfig
from slide_export.models.family import ShapeError, State

from .key_map import Rule

STAGES = 4  # of every backbone here
UNTOLD = {"image_size": "no file tells the input", "heads": "no file tells the heads"}
"""Field -> how the sentence begins that says what is assumed of it."""


@dataclass(frozen=True)
class Beside:
    """What lies beside the weights, in the file or its folder.

    Attributes:
        config: the library's own configuration as plain values: config.json, or OpenMMLab's configuration.
        preprocessor: preprocessor_config.json.
        labels: class names that a training framework wrote.
        palette: a colour for each of these names, red, green, blue of 0..255; empty where none is told.
        writer: the library that a training framework names as the file's own ("mmseg", "mmdet", ...), or ""
        names: of the file's tensors, as the key map reads them.
        said: what the user says of the model, name -> text.
        tensor: reads the values of a tensor by its name here; None where there are shapes alone.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    palette: tuple[tuple[int, ...], ...] = ()
    writer: str = ""
    names: Collection[str] = ()
    said: Mapping[str, str] = field(default_factory=dict)
    tensor: Callable[[str], Tensor] | None = None


@dataclass(frozen=True)
class Told:
    """What a library's files say of one model, and what its code does where they say nothing.

    Attributes:
        fields: of the family's configuration; those that are missing are inferred from the shapes.
        data: the preprocessing.
        labels: class names in the order of the head's outputs.
        source: what told the architecture, for people; "" where nothing did.
        notes: what was decided, one sentence each.
        assumed: what nobody told, one sentence each.
        filled: pattern of tensors here that the library leaves out -> the number that stands for them.
        images: mean, std, resize, crop or interpolation -> what told it; what is missing is the library's default.
        images_assumed: whose default that is, one sentence each.
        input_size: rows and columns that the model is to be exported for, where it has no trained size; None where the
            configuration has it.
        input_assumed: a sentence where that is a guess, for those who name no other.
    """

    fields: Mapping[str, Any]
    data: DataConfig
    labels: tuple[str, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    filled: Mapping[str, float] = field(default_factory=dict)
    images: Mapping[str, str] = field(default_factory=dict)
    images_assumed: tuple[str, ...] = ()
    input_size: tuple[int, int] | None = None
    input_assumed: str = ""

    @property
    def guessed(self) -> frozenset[str]:
        """Fields of the configuration that are assumed."""
        begun = {name for name, words in UNTOLD.items() if any(one.startswith(words) for one in self.assumed)}
        return frozenset(begun)


@dataclass(frozen=True)
class Format:
    """One family as one library saves it.

    Attributes:
        name: the library and the model, for people.
        family: the name of the family here.
        matches: whether the names of a state dict are of this format.
        rules: the key map, or what makes it of the names.
        read: (tensors by their names here, of any device; what lies beside) -> what they tell.
        only_with: field of config.json without which the names are taken for the authors' own; "" needs none.
    """

    name: str
    family: str
    matches: Callable[[Collection[str]], bool]
    rules: tuple[Rule, ...] | Callable[[Collection[str]], tuple[Rule, ...]]
    read: Callable[[State, Beside], Told]
    only_with: str = ""

    def key_map(self, keys: Collection[str]) -> tuple[Rule, ...]:
        """The key map of a state dict with these names."""
        return self.rules(keys) if callable(self.rules) else self.rules


def refuse_field(where: str, name: str, value: Any, expected: str) -> NoReturn:
    """Refuse a field that changes the function and is not modelled.

    Raises:
        ShapeError: always.
    """
    raise ShapeError(f"{name} {value!r} in {where}, where {expected} is expected")


def expect(where: str, fields: Mapping[str, Any], wanted: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse fields that have another value than one of those that are modelled; a field may be missing.

    Raises:
        ShapeError: one has.
    """
    for name, values in wanted.items():
        if name in fields and fields[name] not in values:
            refuse_field(where, name, fields[name], " or ".join(map(repr, values)))


def refuse_contradicted(where: str, told: Mapping[str, Any], shapes: Mapping[str, Any]) -> None:
    """Refuse a field that says something else than the tensors' shapes: one of the two is of another model.

    Args:
        where: the file, for people.
        told: fields of the library's configuration; one may be missing, or None where it says nothing.
        shapes: name of such a field -> what the shapes tell.

    Raises:
        ShapeError: one says something else.
    """
    for name, found in shapes.items():
        said = told.get(name)
        said = list(said) if isinstance(said, tuple) else said
        found = list(found) if isinstance(found, tuple) else found
        if said is not None and said != found:
            raise ShapeError(f"{name} {said!r} in {where}, where the tensors have {found!r}: they are of another model")


def pair(value: Any, name: str = "image_size") -> tuple[int, int]:
    """Read rows and columns that are told as one number or two.

    Raises:
        ShapeError: they are told otherwise.
    """
    try:
        rows, cols = (value, value) if isinstance(value, int | float) else value
        sides = int(rows), int(cols)
        if sides != (rows, cols) or isinstance(rows, bool) or isinstance(cols, bool):
            raise ValueError
    except (TypeError, ValueError) as error:
        raise ShapeError(f"{name} {value!r}, where one number or two are expected") from error
    if min(sides) < 1:
        raise ShapeError(f"{name} {value!r}, where positive numbers are expected")
    return sides


def handed_on(where: str, name: str, told: Iterable[int], written: Any) -> tuple[int, ...]:
    """Read the stages (0-based) whose maps a backbone hands on.

    Args:
        where: the file, for people.
        name: of the field.
        told: the stages.
        written: the field as the file has it, for people.

    Raises:
        ShapeError: one is no stage.
    """
    stages = tuple(sorted(told))
    if not set(stages) <= set(range(STAGES)):
        refuse_field(where, name, written, f"one of {STAGES} stages")
    return stages


def untold_input(image_size: tuple[int, int], reason: str) -> str:
    """Say that the input is a guess."""
    return f"{UNTOLD['image_size']}: {image_size[0]}x{image_size[1]} assumed, {reason}; --input-size names another"
