"""File or folder -> Model: read without running code, renamed to this project's names, every key accounted for."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

from torch import nn

from slide_export.core.errors import CheckpointError, RequestError, option
from slide_export.core.model import Model, Provenance
from slide_export.core.preprocessing import read, refuse_size
from slide_export.core.request import CheckpointRequest
from slide_export.core.text import foreign
from slide_export.models import COMPARISON, EXPORTED, Config, Family, ShapeError

from .architecture import Architecture, Named, architecture, by_our_names, comparison_only, is_known
from .bounds import refuse_beyond, refuse_expanded
from .changes import refuse_changed
from .containers import Contents, digest, read_checkpoint
from .preprocessing import beside_the_model, in_force
from .weights import assign, build, converted, refuse_kinds, refuse_misfits, weights_of, wholly_absent

LONGEST = 2000  # letters of a note


class LoadOptions(TypedDict, total=False):
    """Options of `load_checkpoint`; see `CheckpointRequest`."""

    variant: str | None
    weights: str
    input_size: tuple[int, int] | None
    weights_key: str | None
    values: Mapping[str, str]
    preprocessing: Mapping[str, str]


def load_checkpoint(
    path: Path | str,
    *,
    families: Sequence[Family] = EXPORTED,
    features: bool = False,
    headless: bool = False,
    **options: Unpack[LoadOptions],
) -> Model:
    """Load the trained model in a checkpoint, in eval mode, every key accounted for.

    Args:
        path: a file of any ending (a state dict, or what training codes wrap around one), an index of shards, or a
            folder as downloaded from a hub or written by a trainer.
        families: which it may be of; those for comparison only are refused unless they are among them.
        features: only the maps of the stages are wanted: a head may be missing, and is left out where it is a
            segmenter's or detector's.
        headless: a head may be missing.
        options: see `CheckpointRequest`. What becomes of windows at another input size is the library's own rule.

    Raises:
        CheckpointError: the file is no sound checkpoint of a known model.
        RequestError: the variant, the kind of weights or an option does not exist.
    """
    asked = CheckpointRequest(Path(path), **options)
    path, said, variant = asked.path, read(asked.preprocessing), asked.variant
    refuse_size(asked.input_size)
    if variant is not None:
        _check_variant(variant, families)
    contents = read_checkpoint(
        path, weights=asked.weights, weights_key=asked.weights_key, is_model=lambda names: is_known(names, families)
    )
    like = {name: tensor.like for name, tensor in contents.tensors.items()}
    refuse_kinds(like)
    refuse_expanded(like, [file.stat().st_size for file in contents.files], str(path))
    optional = features or headless
    named = by_our_names(contents, like, families, asked.values, features=optional, heads=not features)
    found = architecture(named, contents.tree, families, variant, asked.values, features=optional)
    refuse_beyond(found.config, named.shapes, found.family, variant)
    module, missing, sha256 = _trained(contents, named, found, variant)
    size = asked.input_size or found.input_size
    wanted = _at(found.config, size) if size else _as_trained(found.config)
    if wanted != found.config:
        adapted = dict(found.family.adapt(module.state_dict(), found.config, wanted))
        module = assign(build(found.family, wanted), adapted)
    images = in_force(found.images, said, wanted.image_size)
    guessed = (found.input_assumed,) if found.input_assumed and not asked.input_size else ()
    beside = beside_the_model(contents.dropped, images.values)
    assumed = (*found.assumed, *guessed, *images.assumed, *beside)
    notes = _notes(contents, named, replace(found, assumed=assumed), converted(like), missing, wanted)
    provenance = Provenance(
        path,
        sha256,
        asked.weights,
        notes,
        format=named.format,
        container=contents.container,
        wrapper=contents.wrapper,
        prefix=contents.prefix,
        dropped=tuple(foreign(name, LONGEST) for name in (*contents.dropped, *named.dropped)),
        assumed=tuple(foreign(sentence, LONGEST) for sentence in assumed),
        values=found.values,
        preprocessing=images.values,
    )
    family, name = found.family, _name(found.family, found.config)
    return Model(module, family.name, name, wanted, images.data, provenance, family.task, found.labels, family.float32)


def _trained(
    contents: Contents, named: Named, found: Architecture, variant: str | None
) -> tuple[nn.Module, Sequence[str], str]:
    """Read the tensors into a module of the trained size: that, the keys that follow from it, and the files' sha256."""
    family = found.family
    module = build(family, found.config, None if variant else named.shapes)
    expected, shapes = module.state_dict(), family.canonical(named.shapes)
    filled = wholly_absent(found.filled, shapes)
    missing = refuse_misfits(shapes, expected, family, named.origins, filled)
    with ThreadPoolExecutor(1) as hashing:  # hashing takes as long as reading, and neither holds the interpreter
        sha256 = hashing.submit(digest, contents.files)
        state = weights_of(contents.tensors, named.origins, expected, family, filled)
    refuse_changed(contents.files, contents.stamps)
    return assign(module, state), missing, sha256.result()


def _check_variant(variant: str, families: Sequence[Family]) -> None:
    if any(variant in family.variants for family in families):
        return
    known = [name for family in families if not family.backbone for name in family.variants]
    if any(variant in family.variants for family in COMPARISON):
        raise RequestError(f"expected a variant to export, found {comparison_only(variant)}")
    raise RequestError(f"expected a variant of {', '.join(known)}; found {variant!r}")


def _at(trained: Config, input_size: tuple[int, int]) -> Config:
    try:
        return trained.at(input_size)
    except ShapeError as error:
        raise RequestError(
            f"expected an input that this model can take, {_size(input_size)} gives {foreign(error, 300)}"
        ) from error


def _as_trained(trained: Config) -> Config:
    """Refuse a trained size at which the library that wrote the checkpoint cannot run its model."""
    try:
        trained.at(trained.image_size)
    except ShapeError as error:
        size = _size(trained.image_size)
        raise CheckpointError(
            f"expected an input that this model can take, the {size} that it was trained with gives {error}: "
            f"name another with {option('input_size')}"
        ) from error
    return trained


def _notes(
    contents: Contents, named: Named, found: Architecture, conversion: str, missing: Sequence[str], wanted: Config
) -> tuple[str, ...]:
    """Say what was decided, in the order in which it was."""
    told = named.told.notes if named.told else ()
    notes = [*contents.notes, *([conversion] if conversion else []), *named.notes, *told, *found.assumed]
    notes.append(f"architecture from {found.source}")
    if stages := getattr(found.config, "feature_stages", ()):
        notes.append(f"a backbone that hands on the maps of stages {', '.join(str(stage + 1) for stage in stages)}")
    filled = [key for key in missing if not key.endswith(found.family.optional or ("\0",))]
    if len(missing) > len(filled):
        notes.append(f"rebuilt {len(missing) - len(filled)} buffers that the file lacks")
    if filled:
        notes.append(f"filled {len(filled)} tensors that the library leaves out with the constants that stand for them")
    if wanted != found.config:
        notes.append(f"resized from input {_size(found.config.image_size)} to {_size(wanted.image_size)}")
    notes += found.family.remarks(wanted)
    return tuple(foreign(note, LONGEST) for note in notes)  # some name what others wrote


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _name(family: Family, config: Config) -> str:
    """Name the variant of this size, whatever its classes and windows; of this input, if one of several is."""
    same = [name for name in family.variants if _is(config, family.variants[name])]
    exact = (name for name in same if family.variants[name].image_size == config.image_size)
    return next(exact, same[0] if same else f"{family.name} (custom)")


def _is(config: Any, variant: Any) -> bool:
    """Whether a configuration is a variant's, whatever its classes, windows, input, and how its library computes it."""
    try:
        resized = variant if config.image_size == variant.image_size else variant.at(config.image_size)
    except ShapeError:
        return False
    free = {name: getattr(config, name) for name in ("num_classes", "window", *BY_LIBRARY) if hasattr(config, name)}
    return bool(replace(resized, **free) == config)


BY_LIBRARY = (
    "palette",
    "resized_window",
    "small_maps",
    "roll_first",
    "whole_patches",
    "feature_norms",
    "feature_stages",
    "normed_stages",
    "padding",
    "refuse_remainder",
    "norm_eps",
    "embed_eps",
    "reduced_eps",
    "align_corners",
    "threshold",
    "reduce_zero_label",
    "score_threshold",
    "iou_threshold",
    "candidates",
    "detections",
)
"""Fields in which libraries differ under the same published numbers."""

__all__ = ["CheckpointError", "load_checkpoint"]
