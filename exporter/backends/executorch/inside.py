"""Inside a program: the values between its parts, and times by the tracer that ExecuTorch's own runtime has."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.backends.profile import WARM, lines
from slide_export.core.artifact import Feeds
from slide_export.core.errors import BundleError, RequestError
from slide_export.core.graph import Value
from slide_export.core.measurement import Executed, ModuleTime, Product

from .opened import opened
from .session import Session
from .vendor import quiet

KERNEL = "native_call_"
"""In front of the name of ExecuTorch's own kernels; the events around them and around XNNPACK's parts hold both."""
EXECUTE = "Execute"
"""The tracer's name of the calls, between loading and the rest."""
NUMBER = re.compile(r" #\d+$")
PRODUCTS: tuple[tuple[re.Pattern[str], Product], ...] = (
    (re.compile(r"Fully Connected"), "dense"),
    (re.compile(r"Convolution .* GEMM"), "dense"),
    (re.compile(r"Convolution|Deconvolution"), "spatial"),
    (re.compile(r"Batch Matrix Multiply"), "activations"),
)
"""XNNPACK's names of its operators; the first that fits. A 1x1 convolution is a GEMM there, another one IGEMM."""


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """The values between the parts that are outputs of modules.

    Raises:
        RequestError: there is none, or the bundle is of a version that did not note them.
    """
    shown: Mapping[str, Sequence[str]] = settings.get("shown", {})
    if not shown:
        raise RequestError(
            f"diagnose is not available for {path.name}: no value between its parts is the output of a module"
        )
    return tuple(Value(name, None, (), tuple(modules)) for name, modules in shown.items())


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Session:
    """A session that gives these values.

    Raises:
        BundleError: the program does not have them.
    """
    return Session(path, {**settings, "outputs": names}, opened(path, names))


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Times of the runtime's tracer, operation by operation; a program says nothing of modules.

    Raises:
        BundleError: the program cannot be run.
    """
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory, "trace.etdp")
        _run(path, settings, feeds, WARM + calls, trace)
        return lines([_executed(event) for event in _events(trace)])


def _run(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int, trace: Path) -> None:
    """Run a program so often and write what its tracer saw."""
    import torch

    with quiet():
        from executorch.runtime import Runtime
    try:
        program = Runtime.get().load_program(path, enable_etdump=True)
        method = program.load_method("forward")
        fed = [torch.from_numpy(feeds[name]) for name in settings["inputs"]]
        for _ in range(calls):
            method.execute(fed)
        program.write_etdump_result_to_file(str(trace), str(trace.with_suffix(".values")))
    except (RuntimeError, KeyError, OSError) as error:
        raise BundleError(f"expected a program that runs here, {path.name} is none: {error}") from error


def _events(trace: Path) -> Sequence[Any]:
    """What was executed in each call, without the events that hold others."""
    with quiet():
        from executorch.devtools import Inspector

        blocks = Inspector(etdump_path=str(trace)).event_blocks
    events = (event for block in blocks if block.name == EXECUTE for event in block.events)
    return [event for event in events if event.perf_data and (event.is_delegated_op or event.name.startswith(KERNEL))]


def _executed(event: Any) -> Executed:
    name = NUMBER.sub("", event.name.removeprefix(KERNEL))
    product = next((kind for pattern, kind in PRODUCTS if pattern.match(name)), None) if event.is_delegated_op else None
    return Executed("", _plain(name), product, tuple(event.perf_data.raw[WARM:]))


def _plain(name: str) -> str:
    """An operator's name in a word that a profile groups by: "Transpose (ND, X32)" is a transpose."""
    word = name.partition(" (")[0].partition(".")[0].removesuffix("_copy")
    return word.removeprefix("Static ").removeprefix("Constant ")  # reshapes and pads
