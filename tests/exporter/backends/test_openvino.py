"""The IR is the model, says what it is and what is in it, and is the same bytes every time."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")

from slide_export.backends import openvino as backend  # noqa: E402
from slide_export.backends.interface import LoweringOptions  # noqa: E402
from slide_export.backends.openvino.runtime import compile_ir  # noqa: E402
from slide_export.calibration.images import bundled  # noqa: E402
from slide_export.core.artifact import Artifact, ModelIO  # noqa: E402
from slide_export.core.errors import BackendUnavailable, BundleError, LoweringError, RequestError  # noqa: E402
from slide_export.core.graph import OnnxGraph  # noqa: E402
from slide_export.core.model import Model  # noqa: E402
from slide_export.core.precision import precision_named  # noqa: E402
from slide_export.core.proof import BATCH_SIZES, Reference  # noqa: E402
from slide_export.core.request import ExportRequest  # noqa: E402
from slide_export.graph import export as onnx_graph  # noqa: E402
from slide_export.inference.choose import choose  # noqa: E402
from slide_export.inference.fuse import fuse  # noqa: E402
from slide_export.inference.served import in_form  # noqa: E402
from slide_export.proof import parity  # noqa: E402
from slide_export.tasks import task_of  # noqa: E402
from slide_export.verification import bundle as verification  # noqa: E402  # after the skip
from slide_export.workflows import export as pipeline  # noqa: E402
from tests.conftest import reference_of  # noqa: E402

LABELS = ("zero", "é<&\"'>", *"cdefghij")  # what XML and JSON have to quote
CPU = {"device": "CPU", "config": {"INFERENCE_PRECISION_HINT": "f32"}, "static_batches": [1]}
LEFT = 0.25  # of a dynamic batch's reorders and transposes; seen: 6 of 120 on the digits
FP16_SQNR_DB = 40.0  # weights rounded to 11 bits: 66 dB for one product, less for a chain of them
SAME_WEIGHTS = 1e-5  # float32 sums in another order, of the largest logit; rounding the weights costs 1e-3
HEAVY = ("Conv", "Gemm", "MatMul")


def write(graph: OnnxGraph, directory: Path, precision: str = "fp32", **options: str) -> Artifact:
    directory.mkdir(parents=True, exist_ok=True)
    given = {"device": "CPU", "cache": "", "static-batches": "1", **options}
    return backend.lower(graph, directory, LoweringOptions(precision_named(precision), ModelIO(), given))


def layers(artifact: Artifact, kind: str) -> list[Mapping[str, str]]:
    return [dict(data.attrib) for data in ElementTree.parse(artifact.path).iterfind(f".//layer[@type='{kind}']/data")]


def change_a_weight(artifact: Artifact) -> None:
    """Moves the first number of the largest float constant in model.bin by the constant's standard deviation."""
    place = max(
        (data for data in layers(artifact, "Const") if data["element_type"] == "f32"), key=lambda d: int(d["size"])
    )
    path = artifact.path.with_suffix(".bin")
    weights = np.memmap(path, np.float32, "r+", offset=int(place["offset"]), shape=(int(place["size"]) // 4,))
    weights[0] += weights.std()
    weights.flush()


@pytest.fixture(scope="module")
def graph(model: Model) -> OnnxGraph:
    return onnx_graph.export(in_form(choose(fuse(model), "summed_taps"), ModelIO(labels=LABELS)))


@pytest.fixture(scope="module")
def reference(model: Model) -> Reference:
    return reference_of(model, bundled().spread(8), ModelIO())


@pytest.fixture(scope="module", params=backend.PRECISIONS)
def artifact(request: pytest.FixtureRequest, graph: OnnxGraph, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    if why := backend.precision_obstacle(request.param):
        pytest.skip(why)
    return write(graph, tmp_path_factory.mktemp(request.param), request.param)


def test_cpu_is_here() -> None:
    assert backend.unavailable_reason() is None


@pytest.mark.parametrize(
    "interface",
    [
        ModelIO(),
        ModelIO(batch=2, softmax=True),
        ModelIO(embed_preprocessing=True, labels=LABELS),
        ModelIO(features=True),
    ],
    ids=["plain", "batch 2, softmax", "embedded preprocessing", "features"],
)
def test_bundle_is_proved(checkpoint: Path, tmp_path: Path, interface: ModelIO) -> None:
    recipe = ExportRequest(checkpoint, target="openvino", out=tmp_path, interface=interface)
    manifest = pipeline.export(recipe).manifest
    assert manifest.parity.passed
    assert tuple(manifest.parity.batch_sizes) == ((interface.batch,) if interface.batch else BATCH_SIZES)
    assert manifest.parity.evaluator == f"OpenVINO {openvino.__version__.split('-')[0]} on CPU (f32)"
    own = [] if manifest.options.batch else [1]
    assert manifest.artifact.settings == {**CPU, "static_batches": own}
    assert [output.name for output in manifest.outputs] == list(task_of("classify", interface).outputs(interface))


def test_bundle_is_proved_again_by_its_golden_file(checkpoint: Path, tmp_path: Path) -> None:
    bundle = pipeline.export(ExportRequest(checkpoint, target="openvino", out=tmp_path, image_count=3))
    assert verification.verify(bundle.path).passed


def test_fp16_stays_near_the_reference(graph: OnnxGraph, reference: Reference, tmp_path: Path) -> None:
    written = write(graph, tmp_path, "fp16")
    (output,) = parity.check(reference, backend.Session(written.path, written.settings), None, decision_axis=1).outputs
    assert output.sqnr_db >= FP16_SQNR_DB
    assert not output.passed  # float16 weights cannot pass for float32 ones: the limits tell them apart


def test_fp16_is_float32_arithmetic_on_rounded_weights(graph: OnnxGraph, reference: Reference, tmp_path: Path) -> None:
    """What the census says, seen in the numbers: the rounding of the weights explains the whole error."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(graph.proto)
    for tensor in rounded.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    half, same = write(graph, tmp_path / "half", "fp16"), write(replace(graph, proto=rounded), tmp_path / "rounded")
    found, expected = (backend.Session(each.path, CPU).run(reference.feeds)["logits"] for each in (half, same))
    assert np.abs(found - expected).max() <= SAME_WEIGHTS * np.abs(expected).max()


def test_changed_weight_is_noticed(graph: OnnxGraph, reference: Reference, tmp_path: Path) -> None:
    written = write(graph, tmp_path)
    assert parity.check(reference, backend.Session(written.path, CPU), None, decision_axis=1).passed
    change_a_weight(written)
    assert not parity.check(reference, backend.Session(written.path, CPU), None, decision_axis=1).passed


def test_changed_weight_is_noticed_through_the_cache(graph: OnnxGraph, reference: Reference, tmp_path: Path) -> None:
    """Compiled by path, 2026.4.1 answers from the cache with the old weights."""
    written = write(graph, tmp_path / "artifact", cache=str(tmp_path / "cache"), **{"static-batches": ""})
    for _ in range(2):  # the second comes from the cache
        session = backend.Session(written.path, written.settings)
        assert parity.check(reference, session, None, decision_axis=1).passed
    assert len(list((tmp_path / "cache").glob("*.blob"))) == 1
    change_a_weight(written)
    session = backend.Session(written.path, written.settings)
    assert not parity.check(reference, session, None, decision_axis=1).passed


def test_census_tells_what_is_stored_and_computed(artifact: Artifact, graph: OnnxGraph) -> None:
    truth = backend.dtype_stats(artifact.path, artifact.settings)
    stored = {"fp16": "float16", "bf16": "bfloat16"}.get(artifact.precision.name, "float32")
    other = "float16" if stored == "float32" else "float32"
    assert not truth.fixed  # the runtime chooses
    assert truth.stored[stored] > 0.99 * sum(truth.stored.values())
    assert truth.stored.get(other, 0) < 100  # scalars: an epsilon, or what float16 cannot hold
    assert sum(truth.stored.values()) <= artifact.path.with_suffix(".bin").stat().st_size
    computed = "bfloat16" if artifact.precision.name == "bf16" else "float32"
    assert truth.computed == {computed: sum(node.op_type in HEAVY for node in graph.proto.graph.node)}


def test_names_and_shapes_survive(artifact: Artifact) -> None:
    model = openvino.Core().read_model(artifact.path)
    ports = [(*port.get_names(), str(port.get_partial_shape())) for port in (*model.inputs, *model.outputs)]
    assert ports == [("images", "[1,3,64,64]"), ("logits", "[1,10]")]


@pytest.mark.parametrize(("given", "shape"), [("1", "[1,3,64,64]"), ("2,8", "[1,3,64,64]"), ("", "[?,3,64,64]")])
def test_an_ir_has_batch_1_unless_no_batch_is_compiled_on_its_own(
    graph: OnnxGraph, tmp_path: Path, given: str, shape: str
) -> None:
    written = write(graph, tmp_path, **{"static-batches": given})
    assert str(openvino.Core().read_model(written.path).input().get_partial_shape()) == shape


def test_metadata_is_in_rt_info(artifact: Artifact, graph: OnnxGraph) -> None:
    model = openvino.Core().read_model(artifact.path)
    found = {entry.key: model.get_rt_info(["slide_export", entry.key]).value for entry in graph.proto.metadata_props}
    assert found == {entry.key: entry.value for entry in graph.proto.metadata_props}
    assert json.loads(found["labels"]) == list(LABELS)
    assert json.loads(found["mean"]) == [0.485, 0.456, 0.406]


def test_same_graph_gives_the_same_bytes(artifact: Artifact, graph: OnnxGraph, tmp_path: Path) -> None:
    """In this process, where OpenVINO has counted on, and in another, where it begins anew."""
    again = write(graph, tmp_path / "again", artifact.precision.name)
    onnx.save(graph.proto, tmp_path / "graph.onnx")
    code = f"""if True:
        import onnx
        from pathlib import Path
        from slide_export.backends import openvino
        from slide_export.backends.interface import LoweringOptions
        from slide_export.core.artifact import ModelIO
        from slide_export.core.graph import OnnxGraph, TensorSpec
        from slide_export.core.precision import precision_named
        proto = onnx.load({str(tmp_path / "graph.onnx")!r})
        graph = OnnxGraph(proto, (TensorSpec("images", "", ()),), (TensorSpec("logits", "", ()),))
        choices = {{"device": "CPU", "cache": "", "static-batches": "1"}}
        order = LoweringOptions(precision_named({artifact.precision.name!r}), ModelIO(), choices)
        openvino.lower(graph, Path({str(tmp_path)!r}), order)
    """
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in ("model.xml", "model.bin"):
        expected = artifact.path.with_name(name).read_bytes()
        assert (again.path.with_name(name).read_bytes(), (tmp_path / name).read_bytes()) == (expected, expected)


@pytest.mark.parametrize("device", ["NPU", "GPU.3", "AUTO:GPU,CPU", "BATCH:GPU(4)", "TOASTER", ""])
def test_absent_device_is_refused_with_those_that_are_here(
    artifact: Artifact, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino.Core, "available_devices", ["CPU"])
    with pytest.raises(BackendUnavailable, match=r"finds on this machine \(CPU\), found '"):
        backend.Session(artifact.path, {**CPU, "device": device})


def test_auto_says_which_device_and_type_it_took(artifact: Artifact, graph: OnnxGraph) -> None:
    settings = write(graph, artifact.path.parent, artifact.precision.name, device="AUTO:CPU").settings
    hint = {"fp32": "f32", "bf16": "bf16"}.get(artifact.precision.name, "f16")
    assert settings["config"] == {"INFERENCE_PRECISION_HINT": hint}
    (computed,) = backend.dtype_stats(artifact.path, settings).computed
    short = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}[computed]
    assert backend.Session(artifact.path, settings).evaluator.endswith(f" on CPU ({short})")


def test_silent_device_is_not_spoken_for(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_compiled: object) -> None:
        raise RuntimeError("Not implemented")

    monkeypatch.setattr(openvino.CompiledModel, "get_runtime_model", refuse)
    assert backend.dtype_stats(artifact.path, CPU).computed == {}
    assert backend.Session(artifact.path, CPU).evaluator.endswith(" on CPU (f32 asked for)")


@pytest.mark.parametrize(
    "feeds",
    [
        {},
        {"nobody": np.zeros((1, 3, 64, 64), np.float32)},
        {"images": np.zeros((1, 3, 64, 64))},
        {"images": np.zeros((1, 3, 32, 64), np.float32)},
    ],
    ids=["none", "name", "type", "shape"],
)
def test_wrong_feeds_are_refused(artifact: Artifact, feeds: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="expected"):
        backend.Session(artifact.path, artifact.settings).run(feeds)


def test_broken_ir_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.xml"
    path.write_text('<?xml version="1.0"?><net name="m" version="11"><layers></layers')
    with pytest.raises(BundleError, match="OpenVINO cannot read"):
        backend.Session(path, CPU)
    with pytest.raises(BundleError, match="cannot be read"):
        backend.dtype_stats(path, CPU)


def test_unknown_setting_is_refused(artifact: Artifact) -> None:
    with pytest.raises(LoweringError, match=r"to compile for CPU, OpenVINO says: .*NO_SUCH_SETTING[^\n]*$"):
        backend.Session(artifact.path, {"device": "CPU", "config": {"NO_SUCH_SETTING": "1"}})


def test_unknown_operator_is_named(graph: OnnxGraph, tmp_path: Path) -> None:
    node = onnx.helper.make_node("Nonsense", ["images"], ["logits"], domain="nobody")
    ports = (list(graph.proto.graph.input), list(graph.proto.graph.output))
    domains = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("nobody", 1)]
    proto = onnx.helper.make_model(onnx.helper.make_graph([node], "g", *ports), opset_imports=domains)
    with pytest.raises(LoweringError, match=r"nobody\.Nonsense"):
        write(replace(graph, proto=proto), tmp_path)


def test_a_batch_size_of_its_own_gives_what_the_shared_model_gives(graph: OnnxGraph, tmp_path: Path) -> None:
    """The dynamic IR is what earlier versions wrote, with the same settings."""
    dynamic = write(graph, tmp_path / "dynamic", **{"static-batches": ""})
    artifact = write(graph, tmp_path, **{"static-batches": "1,2"})
    images = np.random.default_rng(0).standard_normal((3, 3, 64, 64), dtype=np.float32)
    own = backend.Session(artifact.path, artifact.settings)
    shared = backend.Session(dynamic.path, dynamic.settings)
    for count in (1, 2, 3):
        feeds = {"images": images[:count]}
        assert np.abs(own.run(feeds)["logits"] - shared.run(feeds)["logits"]).max() < SAME_WEIGHTS


def layout_changes(compiled: Any, feeds: Mapping[str, Any]) -> int:
    """Number of reorders and transposes that a compiled model executes in a call, by the runtime's own profile."""
    request = compiled.create_infer_request()
    for _ in range(2):  # the first call also prepares constants
        request.infer(dict(feeds))
    return sum(
        info.status == info.Status.EXECUTED and info.node_type in ("Reorder", "Transpose")
        for info in request.profiling_info
    )


def test_a_load_of_the_file_executes_no_layout_change_that_ours_does_not(graph: OnnxGraph, tmp_path: Path) -> None:
    """`core.compile_model("model.xml")` is what `bench` times; a dynamic batch executes more."""
    written = write(graph, tmp_path)
    core, config = openvino.Core(), {**CPU["config"], "PERF_COUNT": True}
    feeds = {"images": np.random.default_rng(0).standard_normal((1, 3, 64, 64), dtype=np.float32)}
    ours = compile_ir(written.path, {**written.settings, "config": config}, 1)[1]
    dynamic = core.read_model(written.path)
    dynamic.reshape([-1, 3, 64, 64])
    plain, own, any_batch = (
        layout_changes(compiled, feeds)
        for compiled in (
            core.compile_model(written.path, "CPU", config),
            ours,
            core.compile_model(dynamic, "CPU", config),
        )
    )
    assert plain == own
    assert plain <= LEFT * any_batch


def test_batch_sizes_that_are_none_are_refused(graph: OnnxGraph, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="found '1,many'"):
        write(graph, tmp_path, **{"static-batches": "1,many"})
