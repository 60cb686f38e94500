"""The preprocessing that is taken for a model: what the files tell, what the user says, and the default of the rest.

A value that the user says and a file contradicts is refused: one of the two is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from slide_export.core.errors import RequestError, option
from slide_export.core.model import ASSUMED, ValueInForce
from slide_export.core.preprocessing import EXPECTED, FIT, HELP, SaidPreprocessing
from slide_export.models import DataConfig
from slide_export.models.config_tree import branch

COLOURS = ("mean", "std")
GEOMETRY = ("resize", "crop")  # these two make one ratio
UNRESIZED = "none, larger pictures are cut"


@dataclass(frozen=True)
class FoundPreprocessing:
    """The preprocessing before the user has said anything.

    Attributes:
        told: name of a value -> what told it; the others are the default.
        default: whose default that is, for people.
    """

    data: DataConfig
    told: Mapping[str, str] = field(default_factory=dict)
    default: str = ""


@dataclass(frozen=True)
class Preprocessing:
    """The preprocessing in force.

    Attributes:
        values: each of the five, as it was taken.
        assumed: what nobody told, in one sentence; empty where there is nothing.
    """

    data: DataConfig
    values: tuple[ValueInForce, ...]
    assumed: tuple[str, ...]


def told_by_tree(tree: Mapping[str, Any] | None, source: str) -> dict[str, str]:
    """What of the preprocessing the training code's own configuration tells."""
    data, test = branch(tree, "DATA"), branch(tree, "TEST")
    names = [name for name in ("mean", "std", "interpolation") if name.upper() in data]
    return dict.fromkeys((*names, *(GEOMETRY if "CROP" in test else ())), source)


def in_force(found: FoundPreprocessing, said: SaidPreprocessing, size: tuple[int, int]) -> Preprocessing:
    """Settle the preprocessing.

    Args:
        said: by the user.
        size: rows and columns of the input.

    Raises:
        RequestError: a file tells another value, or the sizes do not go together.
    """
    wanted = _applied(found.data, said, size)
    given = {name for name in EXPECTED if getattr(said, name) is not None}
    given |= {"resize"} if said.fits else set()
    settled = given | ({*GEOMETRY} if given & {*GEOMETRY} else set())
    before, after = shown(found.data, size), shown(wanted, size)
    for name in sorted(settled & found.told.keys()):
        if before[name] != after[name]:
            raise RequestError(
                f"expected {name} {before[name]}, which {found.told[name]} tells; found {option(name)} {after[name]}: "
                "leave it out, or mend the file"
            )
    values = tuple(
        ValueInForce(
            name,
            after[name],
            _option(name, given) if name in settled else found.told.get(name, ASSUMED),
            EXPECTED[name],
            HELP[name],
            found.default,
            f"--{name}",
        )
        for name in EXPECTED
    )
    return Preprocessing(wanted, values, _sentence(values, found.default))


def beside_the_model(dropped: Collection[str], values: Sequence[ValueInForce]) -> tuple[str, ...]:
    """Name colours that a training module kept beside its model, where nothing else tells them.

    Args:
        dropped: names of tensors that are no part of the model.
        values: the preprocessing in force.
    """
    kept = [
        name for name in dropped if name.rpartition(".")[2].removeprefix("pixel_").removeprefix("image_") in COLOURS
    ]
    if not kept or not any(one.name in COLOURS and one.source == ASSUMED for one in values):
        return ()
    return (f"{', '.join(kept[:4])} beside the model not taken for the preprocessing: --mean and --std say it",)


def _option(name: str, given: Collection[str]) -> str:
    """The option that told a value: one of a size tells the other, too."""
    return f"--{name if name in given else next(other for other in GEOMETRY if other != name)}"


def _sentence(values: tuple[ValueInForce, ...], default: str) -> tuple[str, ...]:
    open_ = [f"{one.name}={one.value} ({one.option} says another)" for one in values if one.source == ASSUMED]
    return (f"{default}: {', '.join(open_)}",) if open_ else ()


def _applied(data: DataConfig, said: SaidPreprocessing, size: tuple[int, int]) -> DataConfig:
    """The preprocessing with what was said in the place of its own."""
    changes: dict[str, Any] = {
        name: getattr(said, name) for name in ("mean", "std", "interpolation") if getattr(said, name) is not None
    }
    if said.fits:
        return replace(data, **changes, fits=True, keep_aspect=False, scale=1.0, resizes=True)
    if said.resize is None and said.crop is None:
        return replace(data, **changes)
    data = replace(data, fits=False)
    crop = size if said.crop is None else (said.crop[0], said.crop[-1])
    keep_aspect = data.keep_aspect if said.resize is None else len(said.resize) == 1
    if said.resize is None:
        resized = data.resized(size)
    elif len(said.resize) == 1:
        short = said.resize[0] / min(crop)
        resized = int(crop[0] * short + 1e-6), int(crop[1] * short + 1e-6)
    else:
        resized = said.resize[0], said.resize[1]
    scale = resized[0] / crop[0] if keep_aspect is False else min(resized) / min(crop)
    made = replace(data, **changes, keep_aspect=keep_aspect, scale=scale, resizes=True)
    if min(resized[0] - crop[0], resized[1] - crop[1]) < 0 or made.resized(crop) != resized:
        raise RequestError(
            f"expected {option('resize')} and {option('crop')} of one shape, the first as large as the second or "
            f"larger; found {_size(resized)} before a crop of {_size(crop)}"
        )
    return made


def shown(data: DataConfig, size: tuple[int, int]) -> dict[str, str]:
    """Each of the five values as the user would write it."""
    resized = data.resized(size)
    sides = str(min(resized)) if data.keep_aspect else _size(resized)
    return {
        "mean": ",".join(f"{value:g}" for value in data.mean),
        "std": ",".join(f"{value:g}" for value in data.std),
        "resize": FIT if data.fits else sides if data.resizes else UNRESIZED,
        "crop": _size(size),
        "interpolation": data.interpolation,
    }


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
