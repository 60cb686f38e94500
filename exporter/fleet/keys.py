"""Keys of jobs: the sha256 of what a job's answer depends on, and of nothing else.

No path, time or machine is in a key, so that whoever made an answer made it for everybody.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode


def canonical(value: Any) -> str:
    """Write a value as JSON in one way only: names sorted, no blanks, finite numbers.

    Given   {"b": 1, "a": [1.5, None]}
    Result  {"a":[1.5,null],"b":1}

    Raises:
        ValueError: a number is not finite.
        TypeError: JSON has no such value, or a name is no text.
    """
    _refuse_other_names(value)
    return _encode(value)


def _refuse_other_names(value: Any) -> None:
    """Refuse names that `json` would turn into text: 1 and "1" would be one key."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if type(name) is not str:
                raise TypeError(f"expected names that are text, found {name!r}")
            if isinstance(inner, dict | list | tuple):
                _refuse_other_names(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_other_names(inner)


def sha256_of(value: Any) -> str:
    """sha256 of a value's canonical JSON, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode("utf-8", "surrogateescape")).hexdigest()


def key_of(stage: str, version: int, options: str, inputs: str, environment: str) -> str:
    """The key of a job.

    Args:
        version: of the stage: another one makes every job of it new.
        options: canonical JSON, like the next two.
        inputs: by role, the sha256 of content or the key of the job that makes it; lists keep their order.
        environment: versions and abilities of the machine that the answer depends on.
    """
    text = f"[{_encode(stage)},{version},{options},{inputs},{environment}]"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
