"""The prefixes that wrappers put before and within the names of a model's tensors, and what lies beside them.

module._orig_mod.layers.0._orig_mod.norm.weight -> layers.0.norm.weight
"""

import re
from collections import Counter
from collections.abc import Callable, Collection

from slide_export.core.errors import CheckpointError, option

from .backbone_names import is_dense
from .tensor_files import StoredTensor
from .text import listed

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
INNER = re.compile(r"\.(?:(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.)+")
"""Of torch.compile, FSDP and activation checkpointing around a module of the model."""
AVERAGED_PREFIXES = ("ema_model.", "model_ema.", "ema.", "teacher.", "_average_model.")
COUNTERS = ("n_averaged", "steps", "num_updates", "decay", "initted", "step")  # single numbers beside averaged weights
PROFILED = ("total_ops", "total_params")  # thop leaves them in every module
EXTRA_STATE = "_extra_state"  # what nn.Module.get_extra_state gives, a tensor or not
HEADS = ("head.", "classifier.", "fc.")

IsModel = Callable[[Collection[str]], bool]
"""Whether names are those of a known model."""


def nothing_known(_names: Collection[str]) -> bool:
    """Know no model: only the prefixes of wrappers are removed."""
    return False


def without_inner_wrappers(tensors: dict[str, StoredTensor], notes: list[str]) -> dict[str, StoredTensor]:
    """Remove what wraps a module inside: `layers.0._orig_mod.blocks` -> `layers.0.blocks`.

    Names that would then be the same stay as they are.
    """
    renamed = {INNER.sub(".", name): tensor for name, tensor in tensors.items()}
    if len(renamed) < len(tensors) or renamed.keys() == tensors.keys():
        return tensors
    words = sorted({found[0].strip(".") for name in tensors for found in INNER.finditer(name)})
    notes.append(f"removed {listed(words)} from within the names of {len(renamed.keys() - tensors.keys())} keys")
    return renamed


def without_prefix(
    tensors: dict[str, StoredTensor], weights: str, notes: list[str], is_model: IsModel
) -> tuple[dict[str, StoredTensor], str, list[str]]:
    """Remove prefixes of wrappers: those of every name, and that of the largest group beside a loss or an average."""
    removed, outside = "", list[str]()
    while True:
        names = [name for name in tensors if not is_counter(name, tensors[name])]
        prefix = _common(names) or _group(names, weights) or _known(names, is_model)
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


def _known(names: list[str], is_model: IsModel) -> str:
    """Find the only prefix below which the names are a known model's, whatever its owner called it.

    A prefix that a library gives its bodies alone is none: the head beside them belongs to the model.

    Raises:
        CheckpointError: there are several models.
    """
    if is_model(names) or is_dense(names):
        return ""
    prefixes = dict.fromkeys(match[0] for name in names if (match := re.match(r"[^.]+\.(?:[^.]+\.)?", name)))
    prefixes |= dict.fromkeys(prefix.partition(".")[0] + "." for prefix in prefixes)
    found: list[str] = []
    for prefix in sorted(prefixes, key=len):
        below = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
        headed = len(below) == len(names) or any(name.startswith(HEADS) for name in below)
        if headed and not prefix.startswith(tuple(found)) and is_model(below):
            found.append(prefix)
    if len(found) > 1:
        listed = ", ".join(repr(prefix.removesuffix(".")) for prefix in found)
        raise CheckpointError(
            f"expected one model, found several, whose names begin with {listed}: name one with {option('weights_key')}"
        )
    return found[0] if found else ""


def is_counter(name: str, tensor: StoredTensor) -> bool:
    """Whether a tensor counts something about the weights, and is none of the model's."""
    last = name.rpartition(".")[2]
    return last in (*PROFILED, EXTRA_STATE) or (name in COUNTERS and tensor.like.numel() == 1)
