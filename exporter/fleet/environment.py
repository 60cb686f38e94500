"""What an answer depends on beside its inputs: versions of packages, and what the processor can do."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from functools import cache
from typing import Any

from slide_export.backends import registry
from slide_export.benchmark.environment import flags

ALWAYS = ("slide-export", "torch", "numpy")
VNNI = frozenset({"avx512_vnni", "avx_vnni"})
OVERFLOWS = "8-bit products overflow"
"""Whether ranges are reduced for this processor: it changes the bytes of an int8 artifact; see `recipe.overflows`."""


def of_packages() -> dict[str, Any]:
    """Versions that every stage depends on."""
    return {name: version(name) for name in ALWAYS}


def of_target(target: str, *, quantized: bool) -> dict[str, Any]:
    """What an artifact of a target depends on; what is not installed here is left to the worker."""
    found = {**of_packages(), **registry.availability(target).versions}
    return {**found, OVERFLOWS: overflows()} if quantized else found


def difference(planned: Mapping[str, Any]) -> str:
    """What of a plan's environment is not so here, in one sentence; empty where all is."""
    for name, value in planned.items():
        found = overflows() if name == OVERFLOWS else version(name)
        if found != value:
            return f"expected {name} {value} as it was planned, found {found or 'none'} on this worker"
    return ""


@cache
def version(distribution: str) -> str | None:
    """The version of an installed distribution; None where it is not."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


@cache
def overflows() -> bool:
    """The answer of `calibration.recipe.overflows`, without torch where the system tells the processor's flags."""
    if platform.machine() != "x86_64":
        return False
    if found := flags():
        return VNNI.isdisjoint(found)
    from slide_export.calibration.recipe import overflows as by_torch

    return by_torch()
