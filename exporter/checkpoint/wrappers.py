"""Which tensors of a training file are the weights: their key, raw or averaged, and the prefix before their names.

{"state_dict": {"model.head.weight": ..., "criterion.weight": ...}, "optimizer_states": [...], "epoch": 3}
->  weights from 'state_dict', without the prefix 'model.', without criterion.weight
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from slide_export.core.errors import CheckpointError, RequestError, option
from slide_export.core.text import foreign

from .prefixes import (
    AVERAGED_PREFIXES,
    COUNTERS,
    IsModel,
    is_counter,
    nothing_known,
    without_inner_wrappers,
    without_prefix,
)
from .stand_ins import StandIn
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

EXTRA = "._extra_state"
"""What a module keeps beside its tensors by `get_extra_state`, of any type."""
DEEPEST = 4  # levels of names above the weights: {"checkpoint": {"model": {"state_dict": ...}}} has three
LONGEST = 256  # letters of a tensor's name; the longest of the models here has 80
ARRAYS = ("multiarray._reconstruct", "numeric._frombuffer")  # of numpy, which make an array


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


def unwrap(
    content: Mapping[Any, Any], weights: str, key: str | None, where: str, is_model: IsModel = nothing_known
) -> Unwrapped:
    """Find the weights in a file's top level.

    Args:
        content: values and tensors (`Tensor` or `StoredTensor`) as they stand in the file.
        weights: "raw" or "ema".
        key: where they are, "a" or "a.b", which may end with the beginning of names; None finds them.
        where: the file, for errors.
        is_model: tells a model from what lies beside it, where no known wrapper's prefix does.

    Raises:
        CheckpointError: there are none, or several of the same kind.
        RequestError: `weights` is neither.
    """
    if weights not in ("raw", "ema"):
        raise RequestError(f"expected weights raw or ema, found {weights!r}")
    sets = sets_of_tensors(content)
    below = ""
    if key is None:
        name, notes = _chosen(content, sets, weights, where)
    else:
        name, below = _named(sets, key, where)
        notes = [f"weights from {key!r}"]
    tensors, dropped = _tensors_of(sets[name], where)
    tensors, averaged = _without_mmcv_average(tensors, weights, notes)
    dropped += averaged
    if below:
        dropped += [other for other in tensors if not other.startswith(below)]
        tensors = {other.removeprefix(below): tensor for other, tensor in tensors.items() if other.startswith(below)}
    tensors, removed, outside = without_prefix(tensors, weights, notes, is_model)
    tensors = without_inner_wrappers(tensors, notes)
    prefix = below + removed
    counted = [counter for counter in tensors if is_counter(counter, tensors[counter])]
    dropped = [*dropped, *outside, *counted]
    tensors = {found: tensor for found, tensor in tensors.items() if found not in counted}
    if "n_averaged" in dropped:
        notes.append("the weights are an average (AveragedModel)")
    return Unwrapped(tensors, name, prefix, tuple(dropped), tuple(notes))


def sets_of_tensors(content: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """Find every mapping that holds tensors by name, at the top ("") and up to `DEEPEST` levels below it."""
    found = {"": content} if _is_set(content) else {}
    level: list[tuple[str, Mapping[Any, Any]]] = [("", content)]
    for _ in range(DEEPEST):
        level = [
            (f"{above}.{name}" if above else name, value)
            for above, mapping in level
            for name, value in mapping.items()
            if isinstance(value, Mapping) and isinstance(name, str) and not name.lower().startswith(NO_WEIGHTS)
        ]
        found |= {name: value for name, value in level if _is_set(value)}
    return found


def _is_set(value: Mapping[Any, Any]) -> bool:
    """Whether a mapping is mostly tensors with names; a few values beside them are counters."""
    tensors = sum(isinstance(item, Tensor | StoredTensor) and isinstance(name, str) for name, item in value.items())
    return any(name not in COUNTERS for name in value) and tensors > 0 and 2 * tensors > len(value)


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
        matching = [name for name in sets if _has_average(sets[name])]
    if not matching:
        raise CheckpointError(_nothing(content, kinds, weights, where))
    if len(matching) > 1:
        named = listed([f"'{foreign(name)}' ({len(sets[name])} tensors)" for name in matching])
        raise CheckpointError(
            f"expected one set of {weights} weights in {where}, found {named}: name one with {option('weights_key')}"
        )
    name = matching[0]
    others = [f"'{foreign(other)}' ({kinds[other] or 'of no known name'})" for other in sets if other != name]
    notes = [f"weights from '{foreign(name)}'"] if name else []
    other = "ema" if weights == "raw" else "raw"
    inside = _has_average(sets[name]) and kinds[name] == "raw" and "n_averaged" not in sets[name]
    if inside or other in (kinds[each] for each in sets if each != name):
        said = notes[-1] if notes else "weights from the top level"
        notes[-1:] = [f"{said}; the file also has {other} weights (--weights {other})"]
    elif others:
        notes.append(f"the file also has {listed(others)}: --weights-key takes one of them")
    return name, notes


def _has_average(values: Mapping[Any, Any]) -> bool:
    """Whether a set holds an average among its names, or is one (torch.optim.swa_utils.AveragedModel)."""
    names = [str(key) for key in values]
    inside = any(name.startswith(AVERAGED_PREFIXES) or (name.startswith("ema_") and "." not in name) for name in names)
    return inside or "n_averaged" in values


def _kind(name: str, sets: Mapping[str, Mapping[Any, Any]]) -> str:
    """Tell raw weights and averages by the name that training codes give them."""
    for raw, average in SWAPPED.items():
        swapped = raw in sets and average in sets and _is_swapped(raw, sets[raw])
        if swapped and name in (raw, average):
            return "raw" if name == raw else "ema"
    parts = name.split(".")
    if any(part in EMA for part in parts):  # {"model_ema": {"module": ...}} too
        return "ema"
    return "raw" if name == "" or parts[-1] in RAW else ""


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
        return (
            f"expected {weights} weights in {where}, found {top}; it has {stands}: ask for {option('weights')} {other}"
        )
    names, found_what = [foreign(name) for name in content], f"expected {weights} weights in {where}, found {top}"
    if any(_is_arrays(values) for values in (content, *content.values())):
        return f"{found_what}, and arrays of numpy in the place of tensors: save them with torch.from_numpy"
    if names and all(
        name.lower().startswith(NO_WEIGHTS) or name in ("state", "param_groups", "epoch") for name in names
    ):
        return f"{found_what}: the state of a training without its model; export the file that has it"
    return f"{found_what}, and no set of tensors in them; export the file that has it"


def _is_arrays(values: Any) -> bool:
    """Whether a mapping is mostly arrays of numpy, for which stand-ins are here."""
    found = list(values.values()) if isinstance(values, Mapping) else []
    arrays = sum(isinstance(value, StandIn) and value.name.endswith(ARRAYS) for value in found)
    return 2 * arrays > len(found)


def _named(sets: Mapping[str, Mapping[Any, Any]], key: str, where: str) -> tuple[str, str]:
    """Find a set by its key, or a part of one: the set's key, and what the names of the part begin with."""
    if key in sets:
        return key, ""
    for name in sorted(sets, key=len, reverse=True):
        below = key.removeprefix(f"{name}." if name else "") + "."
        if (not name or key.startswith(f"{name}.")) and any(str(tensor).startswith(below) for tensor in sets[name]):
            return name, below
    named = listed([f"'{foreign(name)}'" for name in sets if name]) or "none but the top level"
    raise CheckpointError(f"expected tensors under {key!r} in {where}, found sets of tensors under {named}")


def _tensors_of(values: Mapping[Any, Any], where: str) -> tuple[dict[str, StoredTensor], list[str]]:
    """Part a set into its tensors and the names of what is none.

    Raises:
        CheckpointError: a tensor has a name that no module has, or a module's entry beside its tensors is none.
    """
    tensors: dict[str, StoredTensor] = {}
    dropped = []
    modules = {_module_of(name) for name, value in values.items() if isinstance(value, Tensor | StoredTensor)} - {""}
    for name, value in values.items():
        if not isinstance(value, Tensor | StoredTensor):
            if _module_of(name) in modules and not str(name).endswith(EXTRA):
                raise CheckpointError(
                    f"expected a tensor under '{foreign(name)}' in {where}, as its module has others, found "
                    f"{foreign(type(value).__name__)}: save model.state_dict() as it is"
                )
            dropped.append(f"{foreign(name)} (no tensor)")
        elif not isinstance(name, str) or len(name) > LONGEST or not name.isprintable():
            raise CheckpointError(
                f"expected tensors by the names of modules, {where} has one under '{foreign(name)}': save "
                "model.state_dict() as it is"
            )
        else:
            tensors[name] = value if isinstance(value, StoredTensor) else in_memory(value)
    return tensors, dropped


def _module_of(name: Any) -> str:
    """The module that a name says its value is of, "" where it names none."""
    return name.rpartition(".")[0] if isinstance(name, str) else ""


def _without_mmcv_average(
    tensors: dict[str, StoredTensor], weights: str, notes: list[str]
) -> tuple[dict[str, StoredTensor], list[str]]:
    """Part the two sets that mmcv 1.x keeps in one: as it saves, the averages have the names, `ema_a_b` is a.b's raw.

    Source: mmcv 1.7, runner/hooks/ema.py, EMAHook.after_train_epoch, which runs before the file is written.
    """
    kept = {f"ema_{name.replace('.', '_')}": name for name in tensors}
    raw = {kept[name]: tensor for name, tensor in tensors.items() if name in kept}
    if not raw:
        return tensors, []
    names = [name for name in tensors if name not in kept]
    notes.append("the file has averages and raw weights side by side, as mmcv's EMAHook leaves them")
    chosen = {name: raw.get(name, tensors[name]) if weights == "raw" else tensors[name] for name in names}
    return chosen, [name for name in tensors if name in kept]
