"""A program's names, which Core AI draws anew in each process, in such that follow from the program.

    layer_norm_oekofcyg          8 letters from the system's source of randomness    layer_norm_0
    resource_321910016674080948  a hash of a tensor's bytes, under a seed a process  resource_ and a hash without one

Core AI reads a file with any names (coreai-torch 0.4.3, debugging/graph_match.py `_resource_label`: "never recomputed
on load"). A tensor's name stays one of its content, so that equal names are equal tensors in whatever keeps both.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from .bytecode import Bytecode, blobs

DRAWN = re.compile(r"(.+)_[a-z]{8}")
"""Name of a function that a program calls (coreai-core 1.0.0b3, authoring/graph_builder.py `_randomize_fn_name`)."""
ENTRY = "main"


def steady(bytecode: Bytecode, functions: Iterable[str]) -> Bytecode:
    """Copy whose names are the same whenever the program is.

    Args:
        functions: names of all that the program defines.
    """
    names = {**_functions(functions), **_tensors(bytecode)}
    return bytecode.with_strings(lambda text: names.get(text, text))


def _functions(found: Iterable[str]) -> Mapping[str, str]:
    """A number in the place of the letters."""
    drawn = [name for name in found if name != ENTRY]
    return {name: f"{stem(name)}_{index}" for index, name in enumerate(drawn)}


def stem(name: str) -> str:
    """Name without what was drawn: of layer_norm_oekofcyg, layer_norm."""
    match = DRAWN.fullmatch(name)
    return name if match is None else match[1]


def _tensors(bytecode: Bytecode) -> Mapping[str, str]:
    return {name: f"resource_{int(_hash(data), 16)}" for name, data in blobs(bytecode)}


def _hash(data: memoryview) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
