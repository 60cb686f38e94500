"""Which tensors of a training file are the weights: their key, raw or averaged, and the prefix before their names.

{"state_dict": {"model.head.weight": ..., "criterion.weight": ...}, "optimizer_states": [...], "epoch": 3}
->  weights from 'state_dict', without the prefix 'model.', without criterion.weight
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from slide_export.core.errors import CheckpointError, RequestError
from slide_export.core.text import foreign

from .tensor_files import StoredTensor, in_memory
from .text import LISTED, listed

RAW = (
    "model",
    "state_dict",
    "model_state",
    "model_state_dict",
    "net",
    "network",
    "weights",
    "params",
    "module",
    "student",
)
EMA = (
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model",
    "params_ema",
    "teacher",
)
"""Names that training codes give the trained weights, and their moving average; teacher and student are DINO's."""

SWAPPED = {"ema_state_dict": "state_dict", "current_model_state": "state_dict"}
"""Where the averaged weights stand in the usual place, and the raw ones under this name.

Source: mmengine 0.10.7, EMAHook.before_save_checkpoint (`steps` is beside its `module.` names); lightning 2.6,
WeightAveraging.on_save_checkpoint.
"""

NO_WEIGHTS = (
    "optim",
    "sched",
    "scaler",
    "amp",
    "rng",
    "loops",
    "callbacks",
    "hyper_parameters",
    "hparams",
    "config",
    "args",
    "meta",
)
"""Beginnings of names under which training codes keep everything but weights."""

PREFIXES = (
    "module.",  # DataParallel, DistributedDataParallel, AveragedModel, DeepSpeed
    "_orig_mod.",  # torch.compile
    "_forward_module.",  # Lightning with DeepSpeed
    "_fsdp_wrapped_module.",
    "model.",
    "net.",
    "network.",
    "timm_model.",  # transformers' TimmWrapper
    "backbone.",
    "student.",
    "base_model.",
)
AVERAGED_PREFIXES = ("ema_model.", "model_ema.", "ema.", "teacher.", "_average_model.")
COUNTERS = ("n_averaged", "steps", "num_updates", "decay", "initted", "step")  # single numbers beside averaged weights
LONGEST = 256  # letters of a tensor's name; the longest of the models here has 80
PROFILED = ("total_ops", "total_params")  # thop leaves them in every module


@dataclass(frozen=True)
class Unwrapped:
    """The weights of a file.

    Attributes:
        tensors: by their names without prefix.
        wrapper: the key that they stood under, "" where they were the file's top level.
        prefix: what was removed from the names.
        dropped: names of tensors and values that are no part of the model.
        notes: what was decided, one sentence each.
    """

    tensors: Mapping[str, StoredTensor]
    wrapper: str
    prefix: str
    dropped: tuple[str, ...]
    notes: tuple[str, ...]


def unwrap(content: Mapping[Any, Any], weights: str, key: str | None, where: str) -> Unwrapped:
    """Find the weights in a file's top level.

    Args:
        content: values and tensors (`Tensor` or `StoredTensor`) as they stand in the file.
        weights: "raw" or "ema".
        key: where they are, "a" or "a.b"; None finds them.
        where: the file, for errors.

    Raises:
        CheckpointError: there are none, or several of the same kind.
        RequestError: `weights` is neither.
    """
    if weights not in ("raw", "ema"):
        raise RequestError(f"expected weights raw or ema, found {weights!r}")
    sets = sets_of_tensors(content)
    name, notes = (
        _chosen(content, sets, weights, where) if key is None else (_named(sets, key, where), [f"weights from {key!r}"])
    )
    tensors, dropped = _tensors_of(sets[name], where)
    tensors, prefix, outside = _without_prefix(tensors, weights, notes)
    counted = [counter for counter in tensors if _is_counter(counter, tensors[counter])]
    dropped = [*dropped, *outside, *counted]
    tensors = {found: tensor for found, tensor in tensors.items() if found not in counted}
    if "n_averaged" in dropped:
        notes.append("the weights are an average (AveragedModel)")
    return Unwrapped(tensors, name, prefix, tuple(dropped), tuple(notes))


def sets_of_tensors(content: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """Find every mapping that holds tensors by name, at the top ("") and up to two levels below it."""
    found = {"": content} if _is_set(content) else {}
    for name, value in content.items():
        if not isinstance(value, Mapping) or not isinstance(name, str) or name.lower().startswith(NO_WEIGHTS):
            continue
        if _is_set(value):
            found[name] = value
        for inner, below in value.items():
            named = isinstance(inner, str) and not inner.lower().startswith(NO_WEIGHTS)
            if named and isinstance(below, Mapping) and _is_set(below):
                found[f"{name}.{inner}"] = below
    return found


def _is_set(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is mostly tensors with names; a few values beside them are counters."""
    tensors = sum(isinstance(item, Tensor | StoredTensor) and isinstance(name, str) for name, item in value.items())
    return tensors > 0 and 2 * tensors > len(value)


def _chosen(
    content: Mapping[Any, Any], sets: Mapping[str, Mapping[Any, Any]], weights: str, where: str
) -> tuple[str, list[str]]:
    """Choose the set that holds the raw weights or the average, and say so."""
    kinds = {name: _kind(name, sets) for name in sets}
    matching = [name for name in sets if kinds[name] == weights]
    unnamed = [name for name in sets if kinds[name] == ""]
    if not matching and weights == "raw":
        matching = unnamed
    if not matching and weights == "ema":
        matching = [name for name in sets if any(str(key).startswith(AVERAGED_PREFIXES) for key in sets[name])]
    if not matching:
        raise CheckpointError(_nothing(content, kinds, weights, where))
    if len(matching) > 1:
        named = listed([f"'{foreign(name)}' ({len(sets[name])} tensors)" for name in matching])
        raise CheckpointError(
            f"expected one set of {weights} weights in {where}, found {named}: name one with --weights-key"
        )
    name = matching[0]
    others = [f"'{foreign(other)}' ({kinds[other] or 'of no known name'})" for other in sets if other != name]
    notes = [f"weights from '{foreign(name)}'"] if name else []
    other = "ema" if weights == "raw" else "raw"
    if other in kinds.values():
        said = notes[-1] if notes else "weights from the top level"
        notes[-1:] = [f"{said}; the file also has {other} weights (--weights {other})"]
    elif others:
        notes.append(f"the file also has {listed(others)}: --weights-key takes one of them")
    return name, notes


def _kind(name: str, sets: Mapping[str, Mapping[Any, Any]]) -> str:
    """Tell raw weights and averages by the name that training codes give them."""
    for raw, average in SWAPPED.items():
        swapped = raw in sets and average in sets and _is_swapped(raw, sets[raw])
        if swapped and name in (raw, average):
            return "raw" if name == raw else "ema"
    last = name.rpartition(".")[2]
    if name == "" or last in RAW:
        return "raw"
    return "ema" if last in EMA else ""


def _is_swapped(name: str, values: Mapping[Any, Any]) -> bool:
    """Whether these are the raw weights that mmengine or Lightning put aside."""
    return name == "current_model_state" or (
        "steps" in values and any(str(key).startswith("module.") for key in values)
    )


def _nothing(content: Mapping[Any, Any], kinds: Mapping[str, str], weights: str, where: str) -> str:
    other = "ema" if weights == "raw" else "raw"
    found = next((name for name, kind in kinds.items() if kind == other), None)
    top = ", ".join(f"'{foreign(name)}'" for name in list(content)[:LISTED]) or "nothing"
    if found is not None:
        stands = f"'{foreign(found)}'" if found else "them at its top level"
        return f"expected {weights} weights in {where}, found {top}; it has {stands}: ask for --weights {other}"
    names, found_what = [foreign(name) for name in content], f"expected {weights} weights in {where}, found {top}"
    if names and all(
        name.lower().startswith(NO_WEIGHTS) or name in ("state", "param_groups", "epoch") for name in names
    ):
        return f"{found_what}: the state of a training without its model; export the file that has it"
    return f"{found_what}, and no set of tensors in them; export the file that has it"


def _named(sets: Mapping[str, Mapping[Any, Any]], key: str, where: str) -> str:
    if key not in sets:
        named = listed([f"'{foreign(name)}'" for name in sets if name]) or "none but the top level"
        raise CheckpointError(f"expected tensors under {key!r} in {where}, found sets of tensors under {named}")
    return key


def _tensors_of(values: Mapping[Any, Any], where: str) -> tuple[dict[str, StoredTensor], list[str]]:
    """Part a set into its tensors and the names of what is none.

    Raises:
        CheckpointError: a tensor has a name that no module has.
    """
    tensors: dict[str, StoredTensor] = {}
    dropped = []
    for name, value in values.items():
        if not isinstance(value, Tensor | StoredTensor):
            dropped.append(f"{foreign(name)} (no tensor)")
        elif not isinstance(name, str) or len(name) > LONGEST or not name.isprintable():
            raise CheckpointError(
                f"expected tensors by the names of modules, {where} has one under '{foreign(name)}': save "
                "model.state_dict() as it is"
            )
        else:
            tensors[name] = value if isinstance(value, StoredTensor) else in_memory(value)
    return tensors, dropped


def _without_prefix(
    tensors: dict[str, StoredTensor], weights: str, notes: list[str]
) -> tuple[dict[str, StoredTensor], str, list[str]]:
    """Remove prefixes of wrappers: those of every name, and that of the largest group beside a loss or an average."""
    removed, outside = "", list[str]()
    while True:
        names = [name for name in tensors if not _is_counter(name, tensors[name])]
        prefix = _common(names) or _group(names, weights)
        if not prefix:
            return tensors, removed, outside
        outside += [name for name in tensors if not name.startswith(prefix)]
        tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        removed += prefix
        left = len(names) - len(tensors)
        notes.append(
            f"removed the prefix {prefix!r} of "
            + ("every key" if left <= 0 else f"{len(tensors)} keys, the others are left out")
        )


def _common(names: list[str]) -> str:
    """Find the wrapper's prefix that every name has."""
    for prefix in (*PREFIXES, *AVERAGED_PREFIXES):
        if names and all(name.startswith(prefix) for name in names):
            return prefix
    official = "encoder.patch_embed.proj.weight" in names
    return "encoder." if official and all(name.startswith("encoder.") for name in names) else ""


def _group(names: list[str], weights: str) -> str:
    """Find the prefix of the model among others: Lightning's modules keep losses and averages beside it."""
    sizes = Counter(name.partition(".")[0] + "." for name in names if "." in name)
    averages = [prefix for prefix in AVERAGED_PREFIXES if sizes[prefix] > 1]
    models = [prefix for prefix in PREFIXES if sizes[prefix] > 1 and prefix != "backbone."]
    if weights == "ema" and averages:
        return averages[0]
    if not models:
        return ""
    largest = max(models, key=lambda prefix: sizes[prefix])
    others = sum(sizes.values()) - sizes[largest] - sum(sizes[prefix] for prefix in averages)
    return largest if sizes[largest] > 4 * others else ""


def _is_counter(name: str, tensor: StoredTensor) -> bool:
    last = name.rpartition(".")[2]
    return last in PROFILED or (name in COUNTERS and tensor.like.numel() == 1)
