"""What stands beside the weights under names that nothing here reads: it may tell of the model, so it is named.

{"model": {...}, "epoch": 3, "mean": [0.5, 0.5, 0.5]}  ->  "not read, of names that are not known here: mean"
"""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from slide_export.core.text import foreign

from .tensor_files import StoredTensor
from .text import listed

KNOWN = tuple(
    """
    config cfg meta epoch iter step global_step max_accuracy best acc top1 top5 metric loss optim lr_sched sched scaler
    amp rng loops callbacks pytorch-lightning_version message_hub version history patience counter arch date time git
    seed n_averaged ema_decay model state_dict lightning num_updates training_ hparams_name random python_rng numpy_rng
    datamodule lr
    """.split()  # noqa: SIM905
)
"""Beginnings of names under which training codes keep what is read, or what tells nothing of the model."""
CONFIGS = (
    "config",
    "cfg",
    "args",
    "params",
    "parameters",
    "hparams",
    "mean",
    "std",
)  # ends of names of mappings that may
TREES = ("config", "cfg")


def unread(content: Mapping[Any, Any]) -> tuple[str, ...]:
    """Name what is not read of a file's top level; where the weights stand there, what is no tensor is named anyway."""
    if any(isinstance(value, Tensor | StoredTensor) for value in content.values()):
        return ()
    names = [name for name in content if isinstance(name, str) and not name.lower().startswith(KNOWN)]
    found = [
        foreign(name)
        for name in names
        if not isinstance(content[name], Mapping)
        or name.lower().endswith(CONFIGS)  # other mappings are sets of tensors
    ]
    strange = (f"not read, of names that are not known here: {listed(found)}",) if found else ()
    return (
        *strange,
        *(f"not read, for it is no tree of names: {name}" for name in TREES if _is_no_tree(content, name)),
    )


def _is_no_tree(content: Mapping[Any, Any], name: str) -> bool:
    """Whether there is something under a configuration's name that cannot be one."""
    return content.get(name) is not None and not isinstance(content[name], Mapping | str)
