"""What a user may say of a model that no file tells: `--model heads=2,4,8,16`.

Given:  a state dict whose shapes leave the heads open, and `heads=3,6` on the command line
Result: `ModelValue.kind.read("3,6")` is (3, 6), `check` refuses what the shapes contradict, `infer` takes the rest

A family lists its values in `Family.values`; `inspect` prints them with what is in force and where it came from.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from .layers import ACTIVATIONS


@dataclass(frozen=True)
class ValueKind:
    """How a value is written.

    Attributes:
        expected: for people, with an example.
        read: text -> the value; raises `ValueError` where it is none.
        show: the value -> the text that `read` takes.
    """

    expected: str
    read: Callable[[str], Any]
    show: Callable[[Any], str] = str


def nothing_told(_state: Mapping[str, Tensor]) -> None:
    """No shape tells the value."""


def nothing_to_check(_state: Mapping[str, Tensor], _value: Any) -> None:
    """No shape contradicts a value."""


@dataclass(frozen=True)
class ModelValue:
    """One thing about a model that its checkpoint may not tell.

    Attributes:
        name: as `--model NAME=VALUE` has it.
        kind: how it is written.
        help: what it is.
        default: what is taken where nobody says and why, for people.
        field: of the family's configuration; "" where it is called like the value.
        needed: whether `Family.infer` takes the field as a keyword, since without it some shapes tell no model.
        assumed: whether a value that nobody said is an assumption about the checkpoint, to be said aloud; False for a
            choice that changes nothing until it is made.
        told: state dict -> the value that its shapes tell, None where they tell none.
        check: refuse a value that shapes contradict; raises `ShapeError`.
        apply: (configuration, value) -> configuration; None sets the field.
    """

    name: str
    kind: ValueKind
    help: str
    default: str
    field: str = ""
    needed: bool = False
    assumed: bool = True
    told: Callable[[Mapping[str, Tensor]], Any] = nothing_told
    check: Callable[[Mapping[str, Tensor], Any], None] = nothing_to_check
    apply: Callable[[Any, Any], Any] | None = None

    @property
    def field_name(self) -> str:
        """Field of the configuration that it sets."""
        return self.field or self.name

    def of(self, config: Any) -> Any:
        """Its value in a configuration."""
        return getattr(config, self.field_name)

    def shown(self, value: Any) -> str:
        """The value as a user would write it; as Python does where a file's own configuration has something else."""
        try:
            return self.kind.show(value)
        except (TypeError, KeyError, ValueError, IndexError):
            return str(value)

    def applied(self, config: Any, value: Any) -> Any:
        """A configuration with the value, as `apply` makes it."""
        return replace(config, **{self.field_name: value}) if self.apply is None else self.apply(config, value)


def one_of(choices: Mapping[str, Any]) -> ValueKind:
    """One of some words, each for a value.

    Raises:
        KeyError: when a value is shown that no word stands for.
    """
    words = {value: word for word, value in choices.items()}

    def read(text: str) -> Any:
        """The choice that a word names."""
        if text not in choices:
            raise ValueError(text)
        return choices[text]

    return ValueKind(" or ".join(choices), read, lambda value: words[value])


def numbers(example: str, *, apart: str = "") -> ValueKind:
    """Whole numbers from 0 with commas between them, and groups of them where `apart` parts those: 1,2/1,3."""

    def group(text: str) -> tuple[int, ...]:
        """Numbers between commas, none negative."""
        found = tuple(int(part) for part in text.split(","))
        if min(found) < 0:
            raise ValueError(text)
        return found

    def read(text: str) -> Any:
        """One group, or several."""
        return tuple(map(group, text.split(apart))) if apart else group(text)

    def show(value: Any) -> str:
        """The value as it is written."""
        groups = value if apart else (value,)
        return apart.join(",".join(map(str, one)) for one in groups)

    return ValueKind(f"whole numbers with commas, {example}", read, show)


def _size(text: str) -> tuple[int, int]:
    rows, _, cols = text.partition("x")
    found = int(rows), int(cols or rows)
    if min(found) < 1:
        raise ValueError(text)
    return found


IMAGE_SIZE = ValueKind("rows and columns, 224 or 224x320", _size, lambda size: f"{size[0]}x{size[1]}")
WINDOW = ValueKind("rows and columns, 7 or 8x10", _size, IMAGE_SIZE.show)
ACTIVATION = ModelValue(
    "activation",
    one_of({name: name for name in ACTIVATIONS}),
    "activation of the MLPs",
    "what the authors' code has",
    assumed=False,
)
YES_OR_NO = one_of({"yes": True, "no": False})


def _at_size(config: Any, size: tuple[int, int]) -> Any:
    return config if size == config.image_size else config.at(size)


def trained_size(
    default: str,
    told: Callable[[Mapping[str, Tensor]], Any] = nothing_told,
    *,
    resizes: bool = True,
) -> ModelValue:
    """The input that a model was trained with, which windows and stripes follow from.

    Not the input size that an export is asked for: that resizes the trained model.

    Args:
        default: see `ModelValue`.
        told: see `ModelValue`.
        resizes: whether windows or stripes grow with the input; False where shapes tell them.
    """
    return ModelValue(
        "image_size",
        IMAGE_SIZE,
        "the input that it was trained with; another input size is made of it afterwards",
        default,
        told=told,
        apply=_at_size if resizes else None,
    )
