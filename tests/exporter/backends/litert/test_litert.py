"""The kept digits bundle is proved with the runtime alone; an altered weight is not the model."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from slide_export import api
from slide_export.backends import isolation, litert, optional, registry
from slide_export.backends.litert import flatbuffer, halves
from slide_export.backends.litert.quantize import quantized
from slide_export.bundle import store
from slide_export.calibration import recipe
from slide_export.cli import main as cli
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BundleError, CalibrationError, LoweringError, ParityError, RequestError
from slide_export.core.request import ExportRequest
from slide_export.core.typed_json import FieldError
from slide_export.digits import train
from slide_export.inference.served import serve
from slide_export.proof import stored
from slide_export.workflows.resolve import resolve

DIGITS = Path(train.__file__).parent
GOAL = 5e-6  # fp32 error against float64, of the largest logit
SETTINGS = {"delegate": "xnnpack"}
HALF_ERROR = 5e-3  # of the largest logit: weights of 11 bits in a chain of layers


def alter(bundle: Path, change: Callable[[Any], None], name: str) -> None:
    """Change the values of one tensor in a bundle's file, whose hashes are made to fit again."""
    from tests.bundles import restate

    path = bundle / "model.tflite"
    model = flatbuffer.parsed(path.read_bytes())
    (tensor,) = [
        one for one in model.subgraphs[0].tensors if one.name.decode().startswith(f"{name}/") and _stored(one, model)
    ]
    values = np.frombuffer(np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes(), np.float32).copy()
    change(values)
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    path.write_bytes(flatbuffer.written(model))
    restate(bundle)


def _stored(tensor: Any, model: Any) -> bool:
    return len(tensor.shape) > 1 and model.buffers[tensor.buffer].data is not None


def test_the_kept_bundle_is_proved(digits_bundle: Path) -> None:
    report = api.verify(digits_bundle)
    assert report.passed
    assert report.top1 == 1.0
    assert report.evaluator == "LiteRT 2.3.0 on CPU (XNNPACK)"
    golden = store.golden(store.read(digits_bundle))
    (output,) = report.outputs
    assert output.max_abs <= GOAL * np.abs(golden.exact["logits"]).max()


def test_it_is_proved_against_the_checkpoint(digits_bundle: Path) -> None:
    assert api.verify(digits_bundle, against=DIGITS / "digits.pth").passed


def test_both_kernels_give_the_model(digits_bundle: Path) -> None:
    golden = store.golden(store.read(digits_bundle))
    largest = np.abs(golden.exact["logits"]).max()
    found = {}
    for delegate in ("xnnpack", "none"):
        session = litert.Session(digits_bundle / "model.tflite", {"delegate": delegate, "threads": 2})
        rows = [session.run({"images": image[None]})["logits"][0] for image in golden.feeds["images"]]
        found[delegate] = np.array(rows)
        assert np.abs(found[delegate] - golden.exact["logits"]).max() <= GOAL * largest
    assert (found["xnnpack"] != found["none"]).any()  # they are two


def test_nothing_of_a_delegate_is_announced_on_the_terminal(digits_bundle: Path) -> None:
    script = (
        "from pathlib import Path; from slide_export.backends import litert; "
        f"litert.Session(Path({str(digits_bundle / 'model.tflite')!r}), {SETTINGS!r})"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_one_weight_off_by_a_percent_is_not_the_model(copied: Path) -> None:
    def larger(values: Any) -> None:
        values[0] *= 1.01

    alter(copied, larger, "head")
    with pytest.raises(ParityError):
        api.verify(copied)


def test_a_changed_file_is_refused_before_it_is_loaded(copied: Path) -> None:
    (copied / "model.tflite").write_bytes(b"nothing")
    with pytest.raises(BundleError):
        api.verify(copied)


def test_diagnose_names_the_layer(copied: Path, digits_bundle: Path) -> None:
    found = api.diagnose(digits_bundle, DIGITS / "digits.pth")
    assert found.culprit is None
    assert {"patch_embed.proj", "layers.0.blocks.0.attn", "layers.2.blocks.1.mlp.fc1"} <= {
        row.module for row in found.rows
    }

    def wrong(values: Any) -> None:
        values[::7] *= 1.1

    alter(copied, wrong, "layers.1.blocks.0.mlp.fc1")
    culprit = api.diagnose(copied, DIGITS / "digits.pth").culprit
    assert culprit is not None
    assert culprit.module == "layers.1.blocks.0.mlp.fc1"


def test_a_layer_with_an_activation_in_it_shows_no_result_of_its_own(copied: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    path, layer = copied / "model.tflite", "layers.0.blocks.0.mlp.fc1"

    def shown() -> bool:
        return any(layer in (value.output_of or ()) for value in litert.values(path, SETTINGS))

    assert shown()
    model = flatbuffer.parsed(path.read_bytes())
    (graph,) = model.subgraphs
    of_layer = {index for index, tensor in enumerate(graph.tensors) if tensor.name.startswith(f"{layer}/".encode())}
    fully_connected = [one for one in graph.operators if isinstance(one.builtinOptions, schema.FullyConnectedOptionsT)]
    (operator,) = (one for one in fully_connected if one.inputs[1] in of_layer)
    operator.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    path.write_bytes(flatbuffer.written(model))
    assert sum(one.activated for one in flatbuffer.read(path).operations) == 1
    assert not shown()


def test_it_stores_and_computes_float32(digits_bundle: Path) -> None:
    stats = litert.dtype_stats(digits_bundle / "model.tflite", SETTINGS)
    assert set(stats.stored) == {"float32"}
    assert stats.computed == {"float32": 95}
    assert stats.marked == 0


def test_weights_are_the_fused_checkpoints(digits_bundle: Path) -> None:
    """Independent of the proof: the head and a layer that nothing was folded into are in the file as they are."""
    served = serve(api.load_checkpoint(DIGITS / "digits.pth"), ModelIO(batch=1))
    values = {
        one.name.rpartition("/")[0]: one.values
        for one in litert.stored(digits_bundle / "model.tflite", {})
        if one.values.ndim > 1
    }
    for module in ("head", "layers.0.blocks.0.mlp.fc1", "layers.2.blocks.1.mlp.fc2"):
        assert np.array_equal(values[module], served.module.get_submodule(module).weight.detach().numpy())


def test_a_halved_file_stores_each_value_rounded_once(digits_bundle: Path, tmp_path: Path) -> None:
    whole, half = digits_bundle / "model.tflite", tmp_path / "half.tflite"
    half.write_bytes(halves.halved(whole.read_bytes()))
    stats = litert.dtype_stats(half, SETTINGS)
    assert stats.stored["float16"] / sum(stats.stored.values()) >= 0.95
    assert stats.computed == {"float32": 95}
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    assert stored.compare(litert.stored(whole, {}), litert.stored(half, {})).passed
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    exact, found = (litert.Session(path, SETTINGS).run({"images": images})["logits"] for path in (whole, half))
    assert 0 < np.abs(found - exact).max() / np.abs(exact).max() < HALF_ERROR
    assert halves.halved(whole.read_bytes()) == half.read_bytes()


def test_a_halved_file_with_one_wrong_value_is_found(digits_bundle: Path, tmp_path: Path) -> None:
    whole, half = digits_bundle / "model.tflite", tmp_path / "half.tflite"
    model = flatbuffer.parsed(halves.halved(whole.read_bytes()))
    tensor = next(one for one in model.subgraphs[0].tensors if one.name == b"head/35_half")
    values = np.frombuffer(np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes(), np.float16).copy()
    values[3] *= np.float16(1.01)
    model.buffers[tensor.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    half.write_bytes(flatbuffer.written(model))
    report = stored.compare(litert.stored(whole, {}), litert.stored(half, {}))
    assert [fault.wrong for fault in report.faults] == [1]
    assert report.faults[0].name.startswith("head/")


def test_a_dynamic_batch_is_refused_by_name_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "installed", lambda *_: Path("made"))
    with pytest.raises(RequestError, match="litert takes one fixed batch size"):
        resolve(ExportRequest(DIGITS / "digits.pth", target="litert"))
    assert cli.run(["export", str(DIGITS / "digits.pth"), "--target", "litert"]) == 2


def test_symmetric_activations_are_refused(digits_bundle: Path) -> None:
    from dataclasses import replace

    content = (digits_bundle / "model.tflite").read_bytes()
    asked = recipe.default("litert", "int8")
    with pytest.raises(RequestError, match="expected activations of float, dynamic, asymmetric for litert"):
        quantized(content, replace(asked, activations="symmetric"), None)
    with pytest.raises(CalibrationError, match="expected images to observe ranges on"):
        quantized(content, asked, None)
    with pytest.raises(LoweringError, match="quantizes none"):
        quantized(content, replace(recipe.default("litert", "w8"), keep_fp32=("*",)), None)


def test_what_is_quantized_is_said_layer_by_layer(digits_bundle: Path) -> None:
    from dataclasses import replace

    from slide_export.backends.litert.quantize import _entries

    graph = flatbuffer.read(digits_bundle / "model.tflite")
    asked = recipe.default("litert", "int8-dynamic")
    every = list(_entries(graph, asked))
    assert {one["operation"] for one in every} == {"FULLY_CONNECTED", "CONV_2D"}
    assert {one["method"] for one in every} == {"dynamic"}
    kept = list(_entries(graph, replace(asked, keep_fp32=("layers.2.blocks.0.attn.proj", "head"))))
    gone = {one["regex"] for one in every} - {one["regex"] for one in kept}
    assert len(gone) == 2
    assert len({one["regex"] for one in every}) == len(every)
    deep = list(_entries(graph, replace(asked, quantize=("depthwise",))))
    assert {one["operation"] for one in deep} == {"DEPTHWISE_CONV_2D"}


def test_a_calibrated_recipe_leaves_the_last_layer_in_float(digits_bundle: Path) -> None:
    """Its kernels round results too, and that of the last layer is the answer."""
    from slide_export.backends.litert.quantize import _entries

    graph = flatbuffer.read(digits_bundle / "model.tflite")
    told = {name: {one["regex"] for one in _entries(graph, recipe.default("litert", name))} for name in ("int8", "w8")}
    assert told["w8"] - told["int8"] == {"^logits;"}
    assert told["int8"] < told["w8"]


def test_settings_that_lower_never_writes_are_refused() -> None:
    backend = registry.load("litert")
    optional.refuse_settings(backend, {"delegate": "none"}, None)
    for wrong in ({}, {"delegate": "gpu"}, {"delegate": "xnnpack", "library": "x.so"}):
        with pytest.raises(FieldError):
            optional.refuse_settings(backend, wrong, None)


def test_a_plain_load_is_what_was_proved_but_for_other_kernels(digits_bundle: Path) -> None:
    path = digits_bundle / "model.tflite"
    told = optional.plain_load(registry.load("litert"), path, SETTINGS, ("float32",))
    assert told is not None
    assert told.same
    assert "Accelerator.GPU" in told.sentence
    other = optional.plain_load(registry.load("litert"), path, {"delegate": "none"}, ("float32",))
    assert other is not None
    assert "OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES" in other.sentence


def test_the_verbs_take_the_bundle(digits_bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seven = min((DIGITS / "heldout" / "7").glob("*.png"))
    assert cli.run(["run", str(digits_bundle), str(seven)]) == 0
    assert "seven" in capfd.readouterr().out
    assert cli.run(["bench", str(digits_bundle), "--rounds", "1", "--calls", "1", "--json"]) == 0
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    assert run["p50_ms"]["value"] > 0
    assert cli.run(["bench", str(digits_bundle), "--rounds", "1", "--calls", "1", "--profile"]) == 2
    assert "a profile is not available for litert" in " ".join(capfd.readouterr().err.split())
