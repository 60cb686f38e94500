"""bf16 is proved where a processor computes it, counted as executed, and refused with the reason elsewhere."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from slide_export.backends import openvino as backend
from slide_export.backends import registry
from slide_export.backends.interface import LoweringOptions
from slide_export.backends.openvino import bfloat16
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import DtypeStats, ModelIO
from slide_export.core.errors import BackendUnavailable
from slide_export.core.precision import BF16, BF16_LEAST_DB, FP16
from slide_export.core.request import ExportRequest
from slide_export.proof.precision import describe, satisfies
from slide_export.verification.bundle import verify
from slide_export.workflows import export as pipeline

NATIVE = backend.precision_obstacle("bf16") is None
needs_bfloat16 = pytest.mark.skipif(not NATIVE, reason=str(backend.precision_obstacle("bf16")))


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bf16")
    return pipeline.export(ExportRequest(checkpoint, "openvino", "bf16", image_count=3, out=out))


@needs_bfloat16
def test_a_bundle_is_proved_in_the_type_that_was_executed(bundle: Bundle) -> None:
    manifest = bundle.manifest
    assert manifest.parity.passed
    assert manifest.parity.evaluator.endswith("on CPU (bf16)")
    assert set(manifest.dtype_stats.computed) == {"bfloat16"}
    assert manifest.artifact.settings["config"] == {"INFERENCE_PRECISION_HINT": "bf16"}
    assert manifest.parity.accepted.least_db == BF16_LEAST_DB
    assert manifest.float_build is not None
    assert manifest.float_build.stored.passed
    assert manifest.float_build.stored.tensors > 0
    assert verify(bundle.path).passed


@needs_bfloat16
def test_its_weights_are_half_of_the_bytes(bundle: Bundle) -> None:
    stored = bundle.manifest.dtype_stats.stored
    assert stored["bfloat16"] > 0.99 * sum(stored.values())


@needs_bfloat16
def test_a_changed_weight_is_noticed_among_what_is_stored(bundle: Bundle, tmp_path: Path) -> None:
    """Below the floor of the outputs, and not below a step of the type."""
    import openvino

    model = openvino.Core().read_model(bundle.path / "model.xml")
    node = next(one for one in model.get_ordered_ops() if one.get_friendly_name() == "head.weight")
    values = np.ascontiguousarray(node.get_data(dtype=np.float32))
    values[0, 0] *= 1.02  # two to three steps
    node.set_friendly_name("old")
    changed = openvino.op.Constant(openvino.Type.f32, openvino.Shape(values.shape), values.reshape(-1).tolist())
    changed.set_friendly_name("head.weight")
    for port in next(iter(node.output(0).get_target_inputs())).get_node().output(0).get_target_inputs():
        port.replace_source_output(changed.output(0))
    bfloat16.store_in_bfloat16(model)
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    (found,) = (one for one in backend.stored(tmp_path / "model.xml", {}) if one.name == "head.weight")
    (before,) = (one for one in backend.stored(bundle.path / "model.xml", {}) if one.name == "head.weight")
    off = np.abs(found.values - before.values) > before.above
    assert off.sum() == 1
    assert off[0, 0]


def test_rounding_is_that_of_pytorch() -> None:
    """Every exponent, ties to even and odd, subnormals, infinities."""
    random = np.random.default_rng(0)
    values = random.integers(0, 2**32, 100_000, np.uint32).view(np.float32)
    ties = (random.integers(0, 0x7F80, 1000, np.uint32) << 16 | 0x8000).view(np.float32)
    given = np.concatenate([values[np.isfinite(values)], ties, np.float32([0, -0.0, np.inf, -np.inf])])
    expected = torch.from_numpy(given).to(torch.bfloat16).view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(bfloat16.rounded(given), expected)
    assert torch.from_numpy(bfloat16.rounded(np.float32([np.nan])).view(np.int16)).view(torch.bfloat16).isnan().all()


def test_a_machine_without_the_type_refuses_with_the_reason(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bfloat16, "capabilities", lambda device: ("FP32", "INT8"))
    with pytest.raises(BackendUnavailable, match=r"no bfloat16 arithmetic .* take fp32"):
        pipeline.export(ExportRequest(checkpoint, "openvino", "bf16", out=tmp_path))
    assert not list(tmp_path.iterdir())
    registry.require("openvino", "fp32")
    monkeypatch.setattr(bfloat16, "capabilities", lambda device: ("FP32", "BF16"))
    registry.require("openvino", "bf16")


@pytest.mark.parametrize(("executed", "passes"), [(19, True), (18, False)])
def test_what_was_executed_is_judged_though_the_runtime_chose_it(executed: int, passes: bool) -> None:
    stats = DtypeStats({"bfloat16": 100}, {"bfloat16": executed, "float32": 20 - executed}, fixed=False)
    assert satisfies(stats, BF16) is passes
    assert f"{executed} of 20 products compute in it on this machine" in describe(stats, BF16)
    assert satisfies(replace(stats, stored={"float16": 1}), FP16)  # which a CPU may compute in float32


def test_settings_ask_for_bfloat16_on_every_device(tmp_path: Path) -> None:
    from slide_export.backends.openvino.artifact import _settings

    for device in ("CPU", "AUTO"):
        options = {"device": device, "cache": "", "static-batches": "1"}
        assert _settings(LoweringOptions(BF16, ModelIO(), options))["config"] == {"INFERENCE_PRECISION_HINT": "bf16"}
