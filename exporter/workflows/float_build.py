"""The float32 build of the graph that a lower precision was made from: proved itself, and held against the artifact."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

from slide_export.backends import optional, registry
from slide_export.backends.interface import Backend, LoweringOptions
from slide_export.calibration.quantization import NumericFormat
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.artifact import Artifact
from slide_export.core.float_build import FloatBuild, StoredReport
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import FP32
from slide_export.native.schema import used_in
from slide_export.proof import parity, stored
from slide_export.proof.ordering import ordering
from slide_export.proof.orders_inside import open_orders
from slide_export.proof.session import GRAPHS

from .prepare import ModelInForm, Prepared
from .resolve import Plan


def prove(plan: Plan, prepared: Prepared, form: ModelInForm, artifact: Artifact) -> FloatBuild | None:
    """Run the float32 build of a form's graph on the proof's images, and compare its values with the artifact's.

    The build is the ONNX graph, run as any graph is; of a target that takes the PyTorch model, its own fp32 artifact.
    None for an artifact that is the float32 build itself, or whose target has none.
    """
    backend = registry.load(plan.target)
    if artifact.precision == FP32 or FP32.name not in backend.PRECISIONS:
        return None
    with tempfile.TemporaryDirectory() as directory:
        builder, build = _build(plan, form, backend, Path(directory))
        served, reference = prepared.served, prepared.reference(NumericFormat())
        inside = partial(open_orders, builder, build.path, None, build.settings)
        report = parity.check(
            reference,
            builder.Session(build.path, build.settings),
            served.io.batch,
            decision_axis=served.task.decision_axis,
            ordering=ordering(served, reference, NumericFormat(), inside),
        )
        held = _held(form, builder, build, Path(directory))
        compared = _compare(plan.numbers.recipe, held, (backend, artifact))
    worst = report.tightest
    return FloatBuild(report.evaluator, report.images, worst.max_abs, worst.limit_max, report.passed, compared)


def _build(plan: Plan, form: ModelInForm, backend: Backend, directory: Path) -> tuple[Backend, Artifact]:
    if backend.ACCEPTS is OnnxGraph and not used_in(form.graph.proto):  # a library serves one runtime
        graphs = registry.load(GRAPHS)
        return graphs, graphs.lower(form.graph, directory, LoweringOptions(FP32, form.served.io))
    source = form.graph if backend.ACCEPTS is OnnxGraph else form.served
    return backend, backend.lower(source, directory, LoweringOptions(FP32, form.served.io, plan.options))


def _held(form: ModelInForm, builder: Backend, build: Artifact, directory: Path) -> tuple[Backend, Artifact]:
    """What stored values are held against: the build or, where a library made that of a graph, the graph itself."""
    if build.native is None:
        return builder, build
    path = directory / "graph.onnx"
    path.write_bytes(form.graph.proto.SerializeToString(deterministic=True))
    return registry.load(GRAPHS), Artifact(GRAPHS, FP32, path, build.inputs, build.outputs)


def _compare(
    recipe: QuantizationRecipe | None, build: tuple[Backend, Artifact], made: tuple[Backend, Artifact]
) -> StoredReport:
    """What is stored, compared; nothing where the recipe has weights rewritten, or the backend does not read them."""
    if recipe is not None and (recipe.bias_correction or recipe.smooth_quant is not None):
        return StoredReport(0, 0, skipped="the recipe has biases corrected or scales moved into weights")
    expected, found = (optional.stored(backend, one.path, one.settings) for backend, one in (build, made))
    if expected is None or found is None:
        return StoredReport(0, 0, skipped="this target's backend does not read back what an artifact stores")
    return stored.compare(expected, found)
