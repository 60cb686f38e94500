"""File -> Model: read without running code, unwrap, recognise, check every key, load strictly."""

import argparse
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from slide_export.core.errors import CheckpointError, RequestError
from slide_export.core.files import sha256_of
from slide_export.core.model import ASSUMED, Model, Provenance
from slide_export.models import COMPARISON, FAMILIES, Config, DataConfig, Family, ShapeError, State, family_of

from .values import NOTHING_SAID, configure

RAW = ("model", "state_dict", "model_state")  # names that training codes give the trained weights
EMA = ("state_dict_ema", "model_ema")  # and their exponential moving average
PREFIXES = ("module.", "backbone.", "encoder.")  # of DataParallel, and of detection and SimMIM files
LISTED = 8  # keys that an error names one by one


def load_checkpoint(
    path: Path | str,
    *,
    variant: str | None = None,
    weights: str = "raw",
    input_size: tuple[int, int] | None = None,
    values: Mapping[str, str] = NOTHING_SAID,
    families: Sequence[Family] = FAMILIES,
) -> Model:
    """Returns the trained model in a checkpoint, in eval mode, every key accounted for.

    Args:
        path: a `.pt`, `.pth` or `.safetensors` file: a state dict, or one of the wrappers that training codes write.
        variant: a name of `slide_export.models.variants()`; None recognises the model.
        weights: "raw" or "ema".
        input_size: rows and columns; None takes the trained size. Window tables are resized to another one.
        values: what no file tells, by the names of the family's `values`.
        families: which it may be of; those for comparison only are refused unless they are among them.

    Raises:
        CheckpointError: the file is no sound checkpoint of a known model.
        RequestError: the variant, the kind of weights or a value does not exist, or the file contradicts a value.
    """
    path = Path(path)
    if variant is not None:
        _check_variant(variant, families)
    content = _read(path)
    notes: list[str] = []
    state = _sound(_tensors(content, weights, path, notes), notes)
    tree = content.get("config") if isinstance(content.get("config"), Mapping) else None
    family = _recognise(state, variant, families)
    found = configure(family, state, tree, variant, values)
    trained = found.config
    _refuse_headless(family, trained)
    notes += [*(one.assumption for one in found.values if one.source == ASSUMED), f"architecture from {found.source}"]
    wanted = trained if input_size is None else _at(trained, input_size)
    with torch.random.fork_rng():
        module = _build(family, trained)
        _check_keys(state, module.state_dict(), family, notes)
        if wanted != trained:
            notes.append(f"resized from input {_size(trained.image_size)} to {_size(wanted.image_size)}")
            module, state = family.build(wanted), dict(family.adapt(state, trained, wanted))
    module.load_state_dict(state, strict=False)  # what is missing now is what `_check_keys` allowed
    module.eval().requires_grad_(False)
    provenance = Provenance(path, sha256_of(path), weights, tuple(notes), found.values)
    return Model(module, family.name, _name(family, trained), wanted, _data(family, tree, trained), provenance)


def _check_variant(variant: str, families: Sequence[Family]) -> None:
    known = [name for family in families for name in family.variants]
    if variant in known:
        return
    if any(variant in family.variants for family in COMPARISON):
        raise RequestError(f"expected a variant to export, found {_comparison_only(variant)}")
    raise RequestError(f"expected a variant of {', '.join(known)}; found {variant!r}")


def _comparison_only(name: str) -> str:
    return (
        f"{name}, a model for comparison only: it needs operators that targets lack or run badly; "
        "`slide-export compare` measures it beside what replaces it"
    )


def _read(path: Path) -> Mapping[str, Any]:
    """Returns the file's top level; nothing in the file is run."""
    if not path.is_file():
        raise CheckpointError(f"expected a checkpoint file, found none at {path}")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"expected a state dict or a wrapper of one, found a {type(content).__name__} in {path}")
    return content


def _read_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"expected a safetensors file, {path} is damaged or something else ({error})") from error


def _read_pickle(path: Path) -> Any:
    # Upstream pickles its configuration as a yacs CfgNode, a dict: the unpickler is told to make an OrderedDict of it,
    # the only class with attributes that it fills with items (torch/_weights_only_unpickler.py, SETITEMS and BUILD).
    allowed: list[Any] = [(OrderedDict, "yacs.config.CfgNode"), argparse.Namespace]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if wants := re.search(r"GLOBAL (\S+) (?:was not an allowed global|whose module)", str(error)):
            raise CheckpointError(
                f"expected tensors and plain values, {path} asks to import {wants[1]}, which could run code: "
                "save the state dict alone (torch.save(model.state_dict(), ...)) and export that"
            ) from error
        raise CheckpointError(f"expected a PyTorch checkpoint, {path} is none or is damaged") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(
            f"expected a PyTorch checkpoint, {path} is truncated, damaged or something else"
        ) from error


def _tensors(content: Mapping[str, Any], weights: str, path: Path, notes: list[str]) -> dict[str, Tensor]:
    """Returns the state dict asked for, without the prefixes that wrappers put before every key."""
    names = {"raw": RAW, "ema": EMA}
    if weights not in names:
        raise RequestError(f"expected weights raw or ema, found {weights!r}")
    found = {kind: next((key for key in keys if _is_state(content.get(key))), None) for kind, keys in names.items()}
    key = found[weights]
    if key is None and (weights == "ema" or not _is_state(content)):
        other = found["ema" if weights == "raw" else "raw"]
        advice = (
            f"it has {other!r}: ask for --weights {'ema' if weights == 'raw' else 'raw'}"
            if other
            else "export another file"
        )
        top = ", ".join(map(repr, list(content)[:LISTED])) or "nothing"
        raise CheckpointError(f"expected {weights} weights in {path}, found {top}; {advice}")
    if key is not None:
        others = [kind for kind, name in found.items() if name and kind != weights]
        notes.append(
            f"weights from {key!r}"
            + "".join(f"; the file also has {kind} weights (--weights {kind})" for kind in others)
        )
    state = dict(content if key is None else content[key])
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
            notes.append(f"removed the prefix {prefix!r} of every key")
    return state


def _is_state(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value) and all(isinstance(item, Tensor) for item in value.values())


def _sound(state: dict[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Returns the state dict in float32 after refusing tensors with a NaN or an infinity."""
    broken = [key for key, value in state.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(f"expected finite weights, found NaN or Inf in {_list(broken)}: the training diverged")
    narrow = sorted({str(v.dtype) for v in state.values() if v.is_floating_point() and v.dtype != torch.float32})
    if narrow:
        notes.append(f"converted {', '.join(narrow)} weights to float32")
    return {key: value.float() if value.is_floating_point() else value for key, value in state.items()}


def _recognise(state: State, variant: str | None, families: Sequence[Family]) -> Family:
    """Find the family by the names of the keys, and refuse a variant of another one."""
    for refused in COMPARISON:
        if refused not in families and refused.matches(state):
            raise CheckpointError(f"expected a model to export, found the weights of {_comparison_only(refused.name)}")
    found = next((family for family in families if family.matches(state)), None)
    family = family_of(variant, families) if variant else found
    if family is None:
        _refuse_unknown(state, families)
    if found is not None and found != family:
        raise CheckpointError(
            f"expected the keys of a {family.name}, found those of a {found.name}: "
            f"leave out --variant {variant}, or name a {found.name}"
        )
    return family


def _refuse_headless(family: Family, config: Config) -> None:
    if not config.num_classes:
        raise CheckpointError(
            f"expected a {family.name} with its classification head, found no head.weight: export the file that has it"
        )


def _refuse_unknown(state: State, families: Sequence[Family]) -> NoReturn:
    backbone = "backbone."
    if any(key.startswith(backbone) for key in state):
        others = sorted({key.partition(".")[0] for key in state if not key.startswith(backbone)})
        raise CheckpointError(
            f"expected a classifier, found a backbone beside {_list(others)}: a detector or segmenter is not exported; "
            "export the classifier that it was made from, with --features for the maps of its four stages"
        )
    known = ", ".join(family.name for family in families)
    raise CheckpointError(f"expected the keys of {known}; found {_list(list(state))}: no known model has these")


def _build(family: Family, config: Config) -> nn.Module:
    try:
        return family.build(config)
    except (ShapeError, ValueError, TypeError, IndexError, ZeroDivisionError, RuntimeError) as error:
        raise CheckpointError(
            f"expected a configuration that makes a {family.name}, the checkpoint's makes none: {error}"
        ) from error


def _data(family: Family, tree: Mapping[str, Any] | None, config: Config) -> DataConfig:
    try:
        return family.read_data(tree, config)
    except ShapeError as error:
        raise CheckpointError(f"expected a configuration of images, the checkpoint's own has {error}") from error


def _at(trained: Config, input_size: tuple[int, int]) -> Config:
    try:
        return trained.at(input_size)
    except ShapeError as error:
        raise RequestError(f"expected an input that this model can take, {_size(input_size)} gives {error}") from error


def _check_keys(state: State, expected: State, family: Family, notes: list[str]) -> None:
    """Refuses missing, unexpected and misshapen keys, and buffers that say something else than the architecture."""
    missing = [key for key in expected if key not in state]
    rebuilt = [key for key in missing if key.endswith(family.optional)] if family.optional else []
    problems = [f"missing {key} {_shape(expected[key])}" for key in missing if key not in rebuilt]
    problems += [f"unexpected {key} {_shape(state[key])}" for key in state if key not in expected]
    for key in state.keys() & expected.keys():
        if state[key].shape != expected[key].shape:
            problems.append(f"misshapen {key}: expected {_shape(expected[key])}, found {_shape(state[key])}")
        elif family.optional and key.endswith(family.optional) and not torch.equal(state[key], expected[key]):
            problems.append(f"altered {key}: its values do not follow from the architecture")
    if problems:
        raise CheckpointError(f"the checkpoint does not fit {family.name}: {_list(sorted(problems), '; ')}")
    if rebuilt:
        notes.append(f"rebuilt {len(rebuilt)} buffers that the file lacks")


def _list(items: list[str], separator: str = ", ") -> str:
    rest = len(items) - LISTED
    return separator.join(items[:LISTED]) + (f"{separator}and {rest} more" if rest > 0 else "")


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _name(family: Family, config: Config) -> str:
    """Returns the variant of this size, whatever its classes and windows; of this input, if one of several is."""
    same = [name for name in family.variants if _is(config, family.variants[name])]
    exact = (name for name in same if family.variants[name].image_size == config.image_size)
    return next(exact, same[0] if same else f"{family.name} (custom)")


def _is(config: Any, variant: Any) -> bool:
    """Returns whether a configuration is a variant's, whatever its classes, its windows and its input."""
    try:
        resized = variant if config.image_size == variant.image_size else variant.at(config.image_size)
    except ShapeError:
        return False
    windows = {"window": config.window} if hasattr(config, "window") else {}
    return bool(replace(resized, num_classes=config.num_classes, **windows) == config)
