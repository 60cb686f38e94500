"""Inside a program, by the tracer that ExecuTorch's own runtime has: times, and the values between its parts."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.backends.profile import WARM, lines
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError
from slide_export.core.graph import Value
from slide_export.core.measurement import Executed, ModuleTime, Product

from .program import read_program
from .session import Session
from .vendor import quiet

KERNEL = "native_call_"
"""In front of the name of ExecuTorch's own kernels; the events around them and around XNNPACK's parts hold both."""
SLACK = 1 << 20
NUMBER = re.compile(r" #\d+$")
PRODUCTS: tuple[tuple[re.Pattern[str], Product], ...] = (
    (re.compile(r"Fully Connected"), "dense"),
    (re.compile(r"Convolution .* GEMM"), "dense"),
    (re.compile(r"Convolution|Deconvolution"), "spatial"),
    (re.compile(r"Batch Matrix Multiply"), "activations"),
)
"""XNNPACK's names of its operators; the first that fits. A 1x1 convolution is a GEMM there, another one IGEMM."""


CALLS = frozenset({"DELEGATE_CALL", "OPERATOR_CALL"})
"""Events of one instruction each, in the order of execution; they have the values, a part's behind what it takes."""


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


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Shown:
    """A session that gives these values."""
    return Shown(path, settings, names)


class Shown:
    """A program whose tracer keeps what goes from part to part."""

    def __init__(self, path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> None:
        self._path, self._settings, self._names = path, settings, tuple(names)
        self._bytes = 2 * read_program(path).traced_bytes + SLACK  # an operator's is kept twice
        self.evaluator = Session(path, settings).evaluator

    def run(self, feeds: Feeds) -> Outputs:
        """The values by name.

        Raises:
            BundleError: the program does not run.
        """
        with tempfile.TemporaryDirectory() as directory:
            trace = Path(directory, "trace.etdp")
            _run(self._path, self._settings, feeds, 1, trace, self._bytes)
            calls = [event.debug_data for event in _blocks(trace, values=True) if event.name in CALLS]
        found = {}
        for name in self._names:
            instruction, place = map(int, name.split("."))
            found[name] = np.array(calls[instruction][place].float().numpy())
        return found


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Times of the runtime's tracer, operation by operation; a program says nothing of modules.

    Raises:
        BundleError: the program cannot be run.
    """
    with tempfile.TemporaryDirectory() as directory:
        trace = Path(directory, "trace.etdp")
        _run(path, settings, feeds, WARM + calls, trace)
        return lines([_executed(event) for event in _events(trace)])


def _run(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int, trace: Path, keeps: int = 0) -> None:
    """Run a program so often and write what its tracer saw.

    Args:
        keeps: bytes of values that it keeps at most.
    """
    import torch

    with quiet():
        from executorch.runtime import Runtime
    try:
        program = Runtime.get().load_program(path, enable_etdump=True, debug_buffer_size=keeps)
        method = program.load_method("forward")
        fed = [torch.from_numpy(feeds[name]) for name in settings["inputs"]]
        for _ in range(calls):
            method.execute(fed)
        program.write_etdump_result_to_file(str(trace), str(trace.with_suffix(".values")))
    except (RuntimeError, KeyError, OSError) as error:
        raise BundleError(f"expected a program that runs here, {path.name} is none: {error}") from error


def _events(trace: Path) -> Sequence[Any]:
    """What was executed in each call, without the events that hold others."""
    return [
        event
        for event in _blocks(trace)
        if event.perf_data and (event.is_delegated_op or event.name.startswith(KERNEL))
    ]


def _blocks(trace: Path, *, values: bool = False) -> list[Any]:
    """Every event of the calls, in the order of execution."""
    with quiet():
        from executorch.devtools import Inspector

        kept = str(trace.with_suffix(".values")) if values else None
        blocks = Inspector(etdump_path=str(trace), debug_buffer_path=kept).event_blocks
    return [event for block in blocks if block.name == "Execute" for event in block.events]


def _executed(event: Any) -> Executed:
    name = NUMBER.sub("", event.name.removeprefix(KERNEL))
    product = next((kind for pattern, kind in PRODUCTS if pattern.match(name)), None) if event.is_delegated_op else None
    return Executed("", _plain(name), product, tuple(event.perf_data.raw[WARM:]))


def _plain(name: str) -> str:
    """An operator's name in a word that a profile groups by: "Transpose (ND, X32)" is a transpose."""
    word = name.partition(" (")[0].partition(".")[0].removesuffix("_copy")
    return word.removeprefix("Static ").removeprefix("Constant ")  # reshapes and pads
