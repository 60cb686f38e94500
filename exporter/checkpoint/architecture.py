"""Which model a state dict is of: the library that named its tensors, the family, the configuration, the preprocessing.

The steps read shapes alone: tensors without values stand for the file's own.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NoReturn

import torch
from torch import Tensor

from slide_export.core.errors import CheckpointError, option
from slide_export.core.model import ValueInForce
from slide_export.core.text import foreign
from slide_export.models import COMPARISON, Config, Family, ShapeError, State, config_tree, family_of
from slide_export.models import DENSE as SEGMENTERS
from slide_export.models.family import UntoldError
from slide_export.models.formats import (
    OTHER_HEADS,
    UNKNOWN_FAMILIES,
    Beside,
    Origin,
    Recognised,
    Told,
    recognise,
    refusal,
    rename,
)
from slide_export.models.formats.format import UNTOLD

from .backbone_names import BACKBONE, beside_backbone
from .containers import Contents
from .preprocessing import FoundPreprocessing, told_by_tree
from .tensor_files import reading, shaped
from .text import listed
from .values import OWN_CONFIG, Library, configure, read

OFFICIAL = "official names"
LEAST_STD = 2.0**-16
"""A level of a picture of 16 bits: no pictures deviate by less."""
BODIES = ("backbone.", "encoder.", "model.")  # before the names of the body alone, in a file whose head has none


@dataclass(frozen=True)
class Named:
    """A state dict by its names here.

    Attributes:
        origins: name here -> the file's tensors that it is made of.
        shapes: name here -> a tensor without values.
        format: the library, for people.
        told: what the library's files say; None of official names.
        family: the name of the family that the format is of; "" of official names.
        dropped: what is left out, since it follows from the architecture or is no part of the model.
        notes: what was decided.
    """

    origins: Mapping[str, Origin]
    shapes: State
    format: str
    told: Told | None = None
    family: str = ""
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Architecture:
    """What model the weights are of.

    Attributes:
        config: of the model as it was trained.
        source: what told it, for people.
        assumed: what nobody told, one sentence each.
        filled: pattern of tensors that the library leaves out -> the number that stands for them.
        values: those of the family, as they were taken.
        input_size: rows and columns to export for where nobody names any; None is the trained size.
        input_assumed: a sentence where that is a guess.
    """

    family: Family
    config: Config
    images: FoundPreprocessing
    labels: tuple[str, ...]
    source: str
    assumed: tuple[str, ...] = ()
    filled: Mapping[str, float] = field(default_factory=dict)
    values: tuple[ValueInForce, ...] = ()
    input_size: tuple[int, int] | None = None
    input_assumed: str = ""


def is_known(names: Collection[str], families: Sequence[Family]) -> bool:
    """Whether names are those of a model of the families, or of a library's format, or known to be refused."""
    if recognise(names) or refusal(names):
        return True
    state = dict.fromkeys(names, shaped((), torch.float32))
    return any(family.matches(state) for family in (*families, *COMPARISON))


def by_our_names(
    contents: Contents,
    like: State,
    families: Sequence[Family],
    said: Mapping[str, str],
    *,
    features: bool,
    heads: bool = True,
) -> Named:
    """Rename a file's tensors to this project's names.

    Args:
        contents: what the file holds.
        like: its tensors, without values.
        families: which it may be of.
        said: what the user says of the model.
        features: only the maps of the stages are wanted, so a neck or a head beside a backbone may be left out.
        heads: whether those of a segmenter or detector that can be exported are taken.

    Raises:
        CheckpointError: it is told what they are, and they are not exported; or their names are of no known model.
    """
    if told := refusal(like.keys()):
        raise CheckpointError(f"expected a model to export, found {told}")
    for refused in COMPARISON:
        if refused not in families and refused.matches(like):
            raise CheckpointError(f"expected a model to export, found the weights of {comparison_only(refused.name)}")
    found = recognise(like.keys(), contents.config, heads=heads)
    try:
        return (
            _of_library(found, contents, like, families, said, features=features)
            if found
            else _official(like, families, features=features)
        )
    except ShapeError as error:
        name = found.format.name if found else "known model"
        raise CheckpointError(
            f"expected the checkpoint of a {name} that can be exported, found {foreign(error, 400)}{_how(error)}"
        ) from error


def _how(error: ShapeError) -> str:
    """Say the option that tells what no file does."""
    if not isinstance(error, UntoldError):
        return ""
    return f" ({option('values', 'model')} {error.value}={error.example})"


def _of_library(
    found: Recognised,
    contents: Contents,
    like: State,
    families: Sequence[Family],
    said: Mapping[str, str],
    *,
    features: bool,
) -> Named:
    keys = found.keys
    renamed = rename(found.format.key_map(keys.keys()), keys)
    outside = sorted(
        {keys[name].partition(".")[0] for name in renamed.unknown if not keys[name].startswith(found.body)}
    )
    if outside and not features and found.body == "backbone.":
        _refuse_segmenter([keys[name] for name in renamed.unknown])
    strange = [keys[name] for name in renamed.unknown if not features or keys[name].startswith(found.body)]
    if strange:
        theirs = sorted(f"unexpected {key} {shape_of(like[key])}" for key in strange)
        raise CheckpointError(f"the checkpoint does not fit {found.format.name}: {listed(theirs, '; ')}")
    origins = {
        name: Origin(tuple(keys[key] for key in origin.keys), origin.make) for name, origin in renamed.origins.items()
    }
    shapes = {name: _without_memory(origin(like)) for name, origin in origins.items()}
    family = next((family for family in families if family.name == found.format.family), None)
    if family is not None:
        read(family, said)  # refused here, as they are to be written, before they are taken
    beside = Beside(
        contents.config,
        contents.preprocessor,
        contents.labels,
        contents.palette,
        contents.writer,
        keys.keys(),
        said,
        lambda name: origins[name](reading(contents.tensors)),
    )
    with config_tree.reading("a configuration"):
        told = found.format.read(shapes, beside)
    notes: tuple[str, ...] = (f"named by {found.format.name}",)
    if outside:
        notes = (*notes, f"left out, no part of the backbone: {listed(outside)}")
    dropped = (*outside, *(keys[key] for key in renamed.dropped))
    return Named(origins, shapes, found.format.name, told, found.format.family, dropped, notes)


def _without_memory(tensor: Tensor) -> Tensor:
    return shaped(tensor.shape, tensor.dtype)


def _official(like: State, families: Sequence[Family], *, features: bool) -> Named:
    """Take official names as they are, or without a prefix that stands before the names of the body alone."""
    for body in ("", *BODIES):
        inside = {key: key.removeprefix(body) for key in like if key.startswith(body)}
        outside = [key for key in like if key not in inside]
        others = [key for key in outside if not key.startswith(("head.", "norm."))]
        kept = [key for key in outside if key not in others] if features and body else outside
        names = {**inside, **{key: key for key in kept}}
        state = {name: like[key] for key, name in names.items()}
        if any(family.matches(state) for family in families) and (features or not others or not body):
            notes = () if not body else (f"removed the prefix {body!r} of the body's names",)
            left = sorted({key.partition(".")[0] for key in others}) if features and body else []
            notes = (*notes, f"left out, no part of the backbone: {listed(left)}") if left else notes
            origins = {name: Origin((key,)) for key, name in names.items()}
            return Named(origins, state, OFFICIAL, dropped=tuple(left), notes=notes)
    return Named({key: Origin((key,)) for key in like}, like, OFFICIAL)


def architecture(
    named: Named,
    tree: Mapping[str, Any] | None,
    families: Sequence[Family],
    variant: str | None,
    options: Mapping[str, str],
    *,
    features: bool,
) -> Architecture:
    """Tell family, configuration and preprocessing: the file's own configuration first, then the shapes.

    Raises:
        CheckpointError: they are those of no model of the families.
        RequestError: an option is none of the family's.
    """
    family = _family(named, families, variant)
    try:
        found = configure(family, named.shapes, tree, variant, options, Library.of(named.told, named.format))
        config, source, assumed = found.config, found.source, found.assumed
        images = _images(family, named, tree, config)
    except ShapeError as error:
        raise CheckpointError(
            f"expected a configuration that a {family.name} can have, the checkpoint's own has {foreign(error, 400)}"
        ) from error
    if family.has_classes and not config.num_classes and not features:
        raise CheckpointError(_headless(family, named))
    told = named.told
    labels = told.labels if told else ()
    if labels and len(labels) != config.num_classes:
        assumed, labels = (
            (*assumed, f"{len(labels)} class names for {config.num_classes} classes in the file: not taken"),
            (),
        )
        if getattr(config, "palette", ()):  # their colours
            config = replace(config, palette=())
    labels, doubled = _distinct(labels)
    assumed = (*assumed, *doubled)
    settled = tuple(words for name, words in UNTOLD.items() if name in options)
    told_assumptions = tuple(one for one in told.assumed if not one.startswith(settled)) if told else ()
    return Architecture(
        family,
        config,
        images,
        labels,
        source,
        (*assumed, *told_assumptions),
        told.filled if told else {},
        found.values,
        told.input_size if told else None,
        told.input_assumed if told else "",
    )


def _distinct(labels: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give names that stand for several classes their number, and say so: some runtimes answer with the name alone.

    Of ImageNet's names "crane" is a bird and a machine: crane (134) and crane (517).
    """
    doubled = [name for name, count in Counter(labels).items() if count > 1]
    if not doubled:
        return labels, ()
    said = f"class names that stand for several classes have their number behind them: {listed(doubled)}"
    return tuple(f"{name} ({number})" if name in doubled else name for number, name in enumerate(labels)), (said,)


def _family(named: Named, families: Sequence[Family], variant: str | None) -> Family:
    """Find the family, and refuse a variant of another one."""
    if named.told is not None:
        found = next((family for family in families if family.name == named.family), None)
        if found is None:
            raise CheckpointError(
                f"expected a model of {_names(families)}; found {named.format}, which is not exported"
            )
    else:
        found = next((family for family in families if family.matches(named.shapes)), None)
    family = family_of(variant, families) if variant else found
    if family is None:
        _refuse_unknown(named.shapes, families)
    if found is not None and found != family:
        raise CheckpointError(
            f"expected the keys of a {family.name}, found those of a {found.name}: "
            f"leave out {option('variant')} {variant}, or name a {found.name}"
        )
    return family


def _images(family: Family, named: Named, tree: Mapping[str, Any] | None, config: Config) -> FoundPreprocessing:
    """Tell the preprocessing, and what of it a file tells."""
    with config_tree.reading("DATA"):
        data = named.told.data if named.told else family.read_data(tree, config)
    if not all(LEAST_STD <= one <= 1 for one in data.std) or not all(0 <= one <= 1 for one in data.mean):
        raise ShapeError(
            f"mean {data.mean} and standard deviation {data.std}, where those of colours in 0..1 are expected "
            "(of colours in 0..255: divide both by 255)"
        )
    if named.told is None:
        default = f"no file tells the preprocessing: that of {family.name}'s own training code is assumed"
        return FoundPreprocessing(data, told_by_tree(tree, OWN_CONFIG), default)
    default = "; ".join(named.told.images_assumed) or f"what {named.format} has is assumed where no file tells it"
    return FoundPreprocessing(data, named.told.images, default)


def _headless(family: Family, named: Named) -> str:
    """Say which head is there, where one is that is not of one linear layer."""
    heads = sorted(key for key in named.shapes if key.startswith(("head.", "classifier.", "fc.")))
    if heads:
        return f"expected a {family.name} whose head is one linear layer (head.weight), found {listed(heads)}"
    return (
        f"expected a {family.name} with its classification head, found no head.weight: export the file that has it, "
        f"or the maps of its stages with {option('features')}"
    )


def _refuse_unknown(state: State, families: Sequence[Family]) -> NoReturn:
    if any(key.startswith(BACKBONE) for key in state):
        _refuse_segmenter(list(state))
    if told := refusal(state.keys(), UNKNOWN_FAMILIES):
        raise CheckpointError(f"expected a model of {_names(families)}; found {told}, which is not exported")
    raise CheckpointError(
        f"expected the keys of {_names(families)}; found {listed(list(state))}: no known model has these"
    )


def _refuse_segmenter(keys: Sequence[str]) -> NoReturn:
    others = sorted({key.partition(".")[0] for key in keys if not key.startswith(BACKBONE)})
    if not beside_backbone(keys):
        raise CheckpointError(
            f"expected a classifier with one linear layer as its head.weight, found a backbone with "
            f"{listed(others) or 'nothing'} beside it, a head of its own code: rename its weights so that they are the "
            f"model's own, or take the maps of its stages with {option('features')}"
        )
    name = refusal(keys, OTHER_HEADS)
    found = f"{name}, a backbone beside {listed(others)}" if name else f"a backbone beside {listed(others)}"
    heads = dict.fromkeys(family.name.removeprefix(f"{family.backbone}_") for family in SEGMENTERS)
    raise CheckpointError(
        f"expected a classifier, or a backbone with {' or '.join(heads)}, found {found}: that detector or segmenter is "
        f"not exported; {option('features')} exports the maps of its backbone's stages"
    )


def _names(families: Sequence[Family]) -> str:
    """Names of families; what stands on a backbone goes without saying once its head is named."""
    own = [family.name for family in families if not family.backbone]
    heads = dict.fromkeys(family.name.removeprefix(f"{family.backbone}_") for family in families if family.backbone)
    return ", ".join(own) + (f", or a backbone of them with {' or '.join(heads)}" if heads else "")


def comparison_only(name: str) -> str:
    """Say of a model that it is measured and never exported."""
    return (
        f"{name}, a model for comparison only: it needs operators that targets lack or run badly; "
        "`slide-export compare` measures it beside what replaces it"
    )


def shape_of(tensor: Any) -> str:
    """Write a shape."""
    return f"[{', '.join(map(str, tensor.shape))}]"
