"""What stands beside the weights under a name that nobody reads, though it may tell of the model: named, not ignored.

{"model": {...}, "data_config": {"mean": ...}, "epoch": 9}  ->  ("data_config",)
"""

from collections.abc import Mapping
from typing import Any

from slide_export.core.text import foreign

from .wrappers import sets_of_tensors

READ = ("config", "cfg", "meta")  # where there is one; see `containers`
TELLING = (
    *("config", "cfg", "args", "arguments", "hparams", "hyper_param", "opt_", "settings"),
    *("mean", "std", "normal", "resize", "crop", "interpol", "transform", "preproc", "processor"),
    *("img", "image", "input", "size", "data", "label", "class", "num_heads", "window", "arch"),
)
"""Parts of names of such entries."""
TRAINING = (
    "optim",
    "sched",
    "scaler",
    "rng",
    "random",
    "metric",
    "loss",
    "best",
    "update",
    "sampler",
    "loader",
    "callback",
)
"""Parts of names that tell of the training alone."""


def unread(content: Mapping[Any, Any]) -> tuple[str, ...]:
    """Names at a file's top level that may tell of the model and are not read."""
    weights = {name.partition(".")[0] for name in sets_of_tensors(content)}
    names = [name for name in content if isinstance(name, str) and name not in weights and name not in READ]
    return tuple(foreign(name) for name in names if _tells(name.lower()) and "" not in weights)


def _tells(name: str) -> bool:
    return any(part in name for part in TELLING) and not any(part in name for part in TRAINING)
