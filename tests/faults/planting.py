"""Planted faults against the checks of an export: which size of each is caught, and by which check.

    python -m tests.faults.planting              the table of every target that runs here, as Markdown
    python -m tests.faults.planting onnx fp16    of one target and precision
    python -m tests.faults.planting --named      the named size of each fault alone, a third of the exports

A fault of the graph is in the float32 build and in the artifact, as an exporter's would be; a fault of the artifact is
in the artifact alone, as a converter's or a quantizer's would be. Each is exported with `workflows.finish`, as a user's
request is, and what refuses it is asked for its name.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from slide_export.backends import optional, registry
from slide_export.bundle import store
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BundleError, ParityError, PrecisionError, SlideExportError
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import precision_named
from slide_export.core.request import ExportRequest
from slide_export.digits import train
from slide_export.models.swin import SwinConfig, SwinTransformer
from slide_export.verification.bundle import verify
from slide_export.workflows import examine as examining
from slide_export.workflows import finish as finishing
from slide_export.workflows.all_targets import for_target
from slide_export.workflows.prepare import ModelInForm, Prepared, prepare
from slide_export.workflows.resolve import resolve
from tests.conftest import randomise

from . import planted
from .outcome import Outcome
from .planted import NothingToAlterError

NAME = "planting"
CONFIG = SwinConfig(8, (1, 2, 1, 1), (1, 2, 2, 2), (4, 4), (64, 64), 10, slide_stages=1)
"""One slide block, one shifted window, tables of two heads."""
IMAGES = 9
IMAGE_FOLDER = Path(train.__file__).parent / "heldout"
FC1 = "/layers.1/blocks.0/mlp/fc1/"
STD = 0.225  # of the last channel; one grey level is then a known step of the embedded shift
MEAN = "wrong mean"
CANNOT = "–"
"""In the table: the fault cannot be in such an artifact."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault.

    Attributes:
        sizes: from the smallest on.
        named: the size that has to be caught.
        unit: what a size is, with {} in the place of the number.
        alter: plants it in a graph.
        in_graph: whether the float32 build has it too.
        module: name of the same fault in a PyTorch module; "" where there is none.
    """

    name: str
    sizes: tuple[float, ...]
    named: float
    unit: str
    alter: Callable[[OnnxGraph, float], str] | None = None
    in_graph: bool = False
    module: str = ""


FAULTS = (
    Fault(
        "one weight off",
        (1e-5, 1e-4, 1e-3, 0.01),
        0.01,
        "{:.3%}",
        lambda graph, size: planted.weight_off(graph, size, "fc1"),
        module="weight",
    ),
    Fault(
        "two classes swapped",
        (1,),
        1,
        "{:.0f} pair",
        lambda graph, size: planted.classes_swapped(graph, size, "head"),
        module="classes",
    ),
    Fault("bias table transposed", (0.5, 1), 1, "{:.0%} of its heads", planted.table_transposed, True, module="table"),
    Fault("wrong epsilon", (1.01, 1.1, 2, 10), 10, "times {:g}", planted.epsilon_off, in_graph=True, module="epsilon"),
    Fault("wrong window shift", (2,), 2, "{:.0f} rows", planted.shift_undone, in_graph=True, module="shift"),
    Fault(
        MEAN,
        (0.001, 0.01, 0.1, 1),
        1,
        "{:g} of 255 grey levels",
        lambda graph, size: planted.mean_off(graph, size, STD),
        in_graph=True,
    ),
    Fault("overflow in one module", (0.1, 1, 10, 100), 100, "{:g} times float16's largest"),
    Fault("the ninth of nine images wrong", (1e-6, 1e-4, 0.01, 0.5), 0.5, "{:g} of the largest output"),
    Fault("stale golden file", (1e-6, 1e-4, 0.01, 0.5), 0.5, "{:g} of every output"),
    Fault("float32 hidden in float16", (0.01, 0.04, 0.06, 0.2), 0.2, "{:.0%} of the bytes", planted.hidden_float32),
)
SESSION, GOLDEN, OVERFLOW = "the ninth of nine images wrong", "stale golden file", "overflow in one module"


class Exports:
    """One checkpoint, prepared once, and its sound sources in each precision; a fault costs a `finish` alone."""

    def __init__(self, room: Path) -> None:
        self._room, self._sources = room, dict[tuple[str, str], Any]()

    def plan(self, target: str, precision: str) -> Any:
        path = self._room / "small.pth"
        if not path.exists():
            torch.manual_seed(0)
            torch.save({"model": randomise(SwinTransformer(CONFIG)).state_dict()}, path)
        request = ExportRequest(
            path,
            target,
            precision,
            form="taps",
            out=self._room / "out",
            overwrite=True,
            images=IMAGE_FOLDER,
            image_count=IMAGES,
            calibration_size=16,
            interface=ModelIO(embed_preprocessing=True),
        )
        return resolve(for_target(request, target))

    @cached_property
    def prepared(self) -> Prepared:
        return prepare(self.plan("onnx", "fp32").source)

    def prepared_for(self, target: str) -> Prepared:
        """What is prepared, with the batch that a target takes."""
        return self.prepared.at_batch(self.plan(target, "fp32").source.io.batch)

    def source(self, target: str, precision: str) -> Any:
        """What the target's backend starts from, without a fault."""
        if (target, precision) not in self._sources:
            plan = self.plan(target, precision).on_this_machine()
            prepared = self.prepared_for(target)
            form = prepared.in_form("taps", target)
            self._sources[target, precision] = finishing.source_of(plan, prepared, form, _no_step)[0]
        return self._sources[target, precision]

    def caught_by(self, fault: Fault | None, size: float, target: str, precision: str) -> str:
        """The check that refuses an export with a fault; "" where all take it.

        Raises:
            NothingToAlterError: such an artifact cannot have the fault.
        """
        if fault is not None and fault.name == GOLDEN:
            return self._stale(size, target, precision)
        with self._planting(fault, size, target, precision) as prepared:
            try:
                finishing.finish(self.plan(target, precision), prepared)
            except SlideExportError as error:
                return check_of(error)
        return ""

    @contextlib.contextmanager
    def _planting(self, fault: Fault | None, size: float, target: str, precision: str) -> Iterator[Prepared]:
        source, prepared = self.source(target, precision), self.prepared_for(target)
        form = prepared.in_form("taps", target)
        opened = examining.open_session
        if fault is not None and fault.name == SESSION:
            opened = lambda *asked: planted.WrongOnOne(  # noqa: E731
                examining_open(*asked), prepared.truth.feeds, size
            )
        elif fault is not None and fault.name == OVERFLOW:
            if precision_named(precision).floor != "rounded":
                raise NothingToAlterError("float16")
            module = planted.overflowing(prepared.served.module, size)
            prepared = replace(prepared, served=replace(prepared.served, module=module), floors={})
        elif fault is not None:
            source = self._altered(fault, size, source)
            if fault.in_graph:
                whole = self._altered(fault, size, form.graph if isinstance(source, OnnxGraph) else form.served)
                form = ModelInForm(form.served, whole) if isinstance(whole, OnnxGraph) else ModelInForm(whole)
        prepared = replace(prepared, forms={form.served.form: form})
        with (
            mock.patch.object(finishing, "source_of", lambda *_: (source, None)),
            mock.patch.object(examining, "open_session", opened),
        ):
            yield prepared

    def _altered(self, fault: Fault, size: float, source: Any) -> Any:
        if isinstance(source, OnnxGraph):
            if fault.alter is None:
                raise NothingToAlterError(fault.name)
            altered = planted.copied(source)
            if fault.module == "weight":
                planted.weight_off(altered, size, self.weight)
            else:
                fault.alter(altered, size)
            return altered
        if fault.name == MEAN:
            return planted.mean_served_off(source, size)
        return replace(source, module=planted.in_module(source.module, fault.module, size))

    @cached_property
    def weight(self) -> str:
        """What the float graph calls the weight of a linear layer inside."""
        graph = self.prepared.in_form("taps", "onnx").graph.proto.graph
        node = next(node for node in graph.node if node.name.startswith(FC1) and node.op_type in ("Gemm", "MatMul"))
        return str(node.input[1])

    def _stale(self, size: float, target: str, precision: str) -> str:
        """A bundle whose golden file is of other weights, with hashes that fit again, and what `verify` says."""
        with self._planting(None, 0, target, precision) as prepared:
            made = finishing.finish(self.plan(target, precision), prepared)
        golden = store.golden(made)
        exact, rounded = (
            {name: value * (1 + size) for name, value in outputs.items()} for outputs in (golden.exact, golden.rounded)
        )
        other = replace(golden, exact=exact, rounded=rounded)
        text = (made.path / "report.md").read_text()
        store.write(made.path, made.manifest, other, text)
        try:
            verify(made.path)
        except SlideExportError as error:
            return check_of(error)
        return ""


examining_open = examining.open_session


@contextlib.contextmanager
def _no_step(_: str) -> Iterator[None]:
    yield


def check_of(error: SlideExportError) -> str:
    """Name of the check that an error is of."""
    said = str(error)
    if isinstance(error, PrecisionError):
        return "types"
    if isinstance(error, ParityError) and "float32 build of the same graph" in said:
        return "float32 build"
    if isinstance(error, ParityError) and "stored value" in said:
        return "stored values"
    return "parity" if isinstance(error, ParityError) else "files" if isinstance(error, BundleError) else "refused"


@dataclass(frozen=True)
class Cell:
    """One fault in one target and precision: the smallest size that is caught, and by what; None where none is."""

    size: float | None
    check: str


def smallest(exports: Exports, fault: Fault, target: str, precision: str) -> Cell:
    """The smallest size from which on every one is caught."""
    found = Cell(None, "")
    for size in reversed(fault.sizes):
        try:
            check = exports.caught_by(fault, size, target, precision)
        except NothingToAlterError:
            return Cell(None, CANNOT)
        if not check:
            break
        found = Cell(size, check)
    return found


def here() -> list[tuple[str, str]]:
    """Every target that is installed here with each of its precisions that this machine can prove."""
    return [
        (name, precision)
        for name in registry.names()
        if registry.availability(name).ready
        for precision in registry.load(name).PRECISIONS
        if optional.precision_obstacle(registry.load(name), precision) is None
    ]


def rows(columns: Sequence[tuple[str, str]], room: Path, faults: Sequence[Fault] = FAULTS) -> Iterator[str]:
    """Every fault in every column, a line of Markdown at a time."""
    exports = Exports(room)
    head = ["planted", *(f"{target} {precision}" for target, precision in columns)]
    yield _row(head)
    yield _row(["---"] * len(head))
    for fault in faults:
        cells = (_text(fault, smallest(exports, fault, *column), *column) for column in columns)
        yield _row([fault.name, *cells])


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(fault: Fault, cell: Cell, target: str, precision: str) -> str:
    if cell.size is None:
        return cell.check or "**not caught**"
    integers = precision in ("int8", "int8-dynamic", "w8") and registry.load(target).ACCEPTS is OnnxGraph
    if fault.module == "weight" and integers:
        return f"{'two steps' if cell.size >= planted.A_PERCENT else 'one step'}: {cell.check}"
    return f"{fault.unit.format(cell.size)}: {cell.check}"


def run(seed: int, index: int, room: Path) -> Outcome:
    """One fault of the named size; `index` counts through faults, targets and precisions."""
    cases = list(itertools.product(FAULTS, here()))
    fault, (target, precision) = cases[(index + seed) % len(cases)]
    try:
        check = Exports(room).caught_by(fault, fault.named, target, precision)
    except NothingToAlterError:
        return Outcome("fine", f"{target} {precision} cannot have {fault.name}")
    return Outcome("refused" if check else "silent", f"{fault.name} in {target} {precision}: {check or 'not caught'}")


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    logging.disable(logging.WARNING)
    words = set(arguments) - {"--named"}
    faults = tuple(replace(fault, sizes=(fault.named,)) for fault in FAULTS) if "--named" in arguments else FAULTS
    asked = [column for column in here() if words <= set(column)]
    with tempfile.TemporaryDirectory() as room:
        for row in rows(asked, Path(room), faults):
            print(row, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
