"""Bundle, checkpoint -> Diagnosis: the golden images through both models, their modules side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from slide_export.backends import optional, registry
from slide_export.backends.interface import Session
from slide_export.bundle import store as bundle
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import Feeds
from slide_export.core.errors import LoweringError
from slide_export.core.graph import inside as is_inside
from slide_export.core.module_outputs import outputs_of_calls
from slide_export.core.progress import Progress, no_progress
from slide_export.core.task import NOTHING_MORE, Known
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import ServedModel, first
from slide_export.models.layers import Numbered
from slide_export.models.sorting import round_names
from slide_export.proof import reference
from slide_export.proof.orders_inside import following_all, order_values, orders_of
from slide_export.proof.reference import told_by
from slide_export.verification import bundle as verification
from slide_export.verification.apart import LookInside, inside_apart

from .align import aligned, power
from .hooks import anchored, recorded
from .report import Diagnosis, Row, worst_call
from .winograd import ByWinograd

SAME_DB = 100.0  # two float64 runs that differ by float32 rounding of fused weights alone are above 130 dB


def diagnose(
    path: Path,
    against: Path,
    step: Progress = no_progress,
    known: Known = NOTHING_MORE,
    inside_of: LookInside = inside_apart,
) -> Diagnosis:
    """Compare a bundle's artifact with the trained model, module by module, on the bundle's golden images.

    Args:
        inside_of: where the artifact runs; a process of its own without it.

    Raises:
        CrashError: the artifact crashes its runtime.
        BundleError: the bundle is incomplete or altered, or was made from another checkpoint.
        LoweringError: the artifact shows none of the model's modules.
    """
    with step("read the bundle and the checkpoint"):
        shipped = bundle.read(path)
        served = verification.served_by(shipped, against, known)
        golden = bundle.golden(shipped)
    fed = golden.feeds
    count = len(golden.images)
    rounds = [name for names in round_names(served.module).values() for name in names]
    with inside_of(shipped) as inside:
        with step("find the trained model's modules in the artifact"):
            calls = _comparable(served, shipped, first(fed, served.coupled))
            value_names = _drop_last_children(outputs_of_calls(inside.values, calls), served.module)
            orders = order_values(inside.values, rounds)
            session = inside.open(tuple(dict.fromkeys((*chain(*value_names.values()), *orders.values()))))
        if not value_names:
            raise LoweringError(f"expected values named after the model's modules in {path}, found none")
        with step(f"compare {len(value_names)} modules on {count} images"):
            rows = _rows(served, session, value_names, orders, fed, shipped)
    shown = {row.module for row in rows}
    hidden = tuple(name for name, times in calls.items() if times == 1 and name not in shown)
    weighted = _weighted(served.module)
    repeated = tuple(
        name for name, times in calls.items() if times > 1 and name in weighted and not is_inside(name, shown)
    )
    least_db = _refused_below_db(shipped)
    precision = shipped.manifest.precision.name
    return Diagnosis(session.evaluator, precision, golden.source, count, rows, hidden, least_db, repeated)


def _refused_below_db(shipped: Bundle) -> float | None:
    """SQNR in dB that a refused bundle's recipe asks of the outputs; None where it passed or has no recipe."""
    proof, accuracy = shipped.manifest.parity, shipped.manifest.accuracy
    passed = proof.passed and (accuracy is None or accuracy.passed)
    return None if passed else proof.accepted.min_sqnr_db


def _comparable(served: ServedModel, shipped: Bundle, fed: Feeds) -> dict[str, int]:
    """Modules that the trained and the inference model share, in the order of execution, and how often each is called.

    The interior of a layer that fusing or lowering replaced has names of both forms and other contents: `qkv` with its
    rows in another order. So a module counts where both forms agree in float64; where they do not, which is a fault in
    fusing or lowering, it counts if it was not replaced. Of modules that are called several times those count that have
    weights in them: what a ReLU does is in the one around it. A list of layers is called for each of them.
    """
    inference = choose(fuse(served.trained), shipped.manifest.options.form)
    modules = {name: module for name, module in served.module.named_modules() if name}
    images = served.tensors(fed, torch.float64)
    exact, lowered = served.in_float64(), served.running(inference).in_float64()
    ours = recorded(exact, modules, images)
    with told_by(exact, images, lowered):
        theirs = recorded(lowered, modules, images)
    return {
        name: len(outputs)
        for name, outputs in ours.items()
        if (len(outputs) == 1 or _is_layer(modules[name]))
        and (_agree(outputs, theirs.get(name, [])) or not _replaced(name, served.module, inference.module))
    }


def _is_layer(module: nn.Module) -> bool:
    """Whether a module has weights in it and is no list of layers."""
    return not isinstance(module, Numbered) and next(module.parameters(), None) is not None


def _weighted(module: nn.Module) -> set[str]:
    """Names of the modules that have weights of their own."""
    return {name.rpartition(".")[0] for name, _ in module.named_parameters()}


def _drop_last_children(value_names: Mapping[str, tuple[str, ...]], trained: nn.Module) -> dict[str, tuple[str, ...]]:
    """Drop a child whose output is also its parent's, if a sibling is hidden: its error would include the sibling's.

    In an attention whose `qkv` cannot be compared, the output of `proj` shows the errors of both: that is the parent's.
    """
    hidden = _weighted(trained) - set(value_names)  # that the artifact does not show

    def stands_for_parent(name: str) -> bool:
        """Whether a module's output is its parent's too, and another module inside that parent is hidden."""
        parent = name.rpartition(".")[0]
        return value_names.get(parent) == value_names[name] and any(other.startswith(f"{parent}.") for other in hidden)

    return {name: value for name, value in value_names.items() if not stands_for_parent(name)}


def _agree(expected: Sequence[Tensor], found: Sequence[Tensor]) -> bool:
    """Whether a module gives the same at each of its calls."""
    return [one.shape for one in expected] == [one.shape for one in found] and all(
        _decibel(power(ours), power(theirs - ours)) > SAME_DB for ours, theirs in zip(expected, found, strict=True)
    )


def _replaced(name: str, trained: nn.Module, lowered: nn.Module) -> bool:
    """Whether a module is absent from the lowered model, or inside a layer of another class there."""
    there = dict(lowered.named_modules())
    parts = name.split(".")
    around = [".".join(parts[:end]) for end in range(1, len(parts))]
    if name not in there:
        return True
    return any(type(there[outer]) is not type(trained.get_submodule(outer)) for outer in around)


def _rows(
    served: ServedModel,
    session: Session,
    value_names: Mapping[str, Sequence[str]],
    order_names: Mapping[str, str],
    fed: Feeds,
    shipped: Bundle,
) -> tuple[Row, ...]:
    """Rows in the order of execution, of the modules that the artifact shows.

    What it sorts, the trained model takes in its order: keys that tie are no error of the modules behind them.
    """
    exact, numbers = served.in_float64(), verification.numbers_of(shipped)
    floor = reference.imitation(served, fed, numbers)
    by_winograd = optional.convolves_by_winograd(registry.load(shipped.manifest.target))
    # Of a lower precision its own rounding is larger.
    convolving = ByWinograd if by_winograd and numbers.precision.floor == "none" else nullcontext
    powers: dict[str, list[_Powers]] = {}
    for batch in _batches(fed, served.io.batch):
        images, images32 = served.tensors(batch, torch.float64), served.tensors(batch, torch.float32)
        raw = session.run(batch)
        orders = orders_of(served.module, {name: raw[value] for name, value in order_names.items()}, len(images[0]))
        with following_all((exact, floor), orders):
            expected = recorded(exact, value_names, images)
            found = aligned(expected, {name: [raw[one] for one in values] for name, values in value_names.items()})
            added = anchored(exact, found, images)  # each module on the artifact's values: what it adds itself
            with convolving():
                rounded = recorded(floor, found, images32)  # the same two for an ideal one: what rounding explains
            rounded_added = anchored(exact, rounded, images)
        for name in (name for name in expected if name in found):
            calls = powers.setdefault(name, [_Powers() for _ in expected[name]])
            for call, power_of_call in enumerate(calls):
                power_of_call.add(expected[name][call], found[name][call], added[name][call])
                power_of_call.add_floor(expected[name][call], rounded[name][call], rounded_added[name][call])
    # No runtime is asked for less than one rounding of a value, where PyTorch happens to round nothing.
    smallest, multiple = numbers.precision.rounding, numbers.precision.tolerance_factor
    depths = {name: sum(name.startswith(f"{other}.") for other in powers) for name in powers}
    return tuple(
        worst_call([one.row(name, depths[name], smallest, multiple) for one in calls]) for name, calls in powers.items()
    )


def _batches(fed: Feeds, batch: int | None) -> Iterator[Feeds]:
    """One image after the other, repeated to a fixed batch size: one image's values in memory at a time."""
    for index in range(len(next(iter(fed.values())))):
        yield {name: np.repeat(value[index : index + 1], batch or 1, axis=0) for name, value in fed.items()}


class _Powers:
    """Sums of squares of one module over the images."""

    def __init__(self) -> None:
        self.signal = self.error = self.added = 0.0
        self.floor: float | None = None
        self.added_floor: float | None = None

    def add(self, expected: Tensor, found: Tensor, anchored_output: Tensor) -> None:
        """Add one image's error powers: against the trained output, and against the module's own of these inputs."""
        self.signal += power(expected)
        self.error += power(found - expected)
        self.added += power(found - anchored_output)

    def add_floor(self, expected: Tensor, rounded: Tensor, anchored_output: Tensor) -> None:
        """Add one image's powers of the noise floor: the same two differences of the rounded model."""
        self.floor = (self.floor or 0.0) + power(rounded - expected)
        self.added_floor = (self.added_floor or 0.0) + power(rounded - anchored_output)

    def row(self, name: str, depth: int, smallest: float | None, multiple: float) -> Row:
        """Row of the report: SQNR in dB of the error and of the error added here, each with its floor."""
        # A floor is not below one rounding of the signal.
        least = 0.0 if smallest is None else self.signal * smallest**2

        def level(noise: float | None) -> float | None:
            """SQNR of a floor in dB; noise below the precision's smallest step counts as one step."""
            return None if noise is None else _decibel(self.signal, max(noise, least))

        return Row(
            name,
            _decibel(self.signal, self.error),
            level(self.floor),
            _decibel(self.signal, self.added),
            level(self.added_floor),
            depth,
            multiple,
        )


def _decibel(signal: float, noise: float) -> float:
    """Ratio of two powers in dB: infinite without noise, NaN where the noise is not finite."""
    if noise == 0:
        return math.inf
    if not math.isfinite(noise):
        return math.nan
    return float(10 * np.log10(signal / noise)) if signal else float("-inf")
