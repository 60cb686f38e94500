"""What `core.compile_model("model.xml")` computes, and what has to be set so that it is what was proved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.plain_load import PlainLoad

from . import own_operator
from .dtypes import computed_in
from .runtime import HINT, read_ir
from .settings import harmless_settings

WHY = (
    "OpenVINO chooses: bfloat16 on processors with AMX or AVX512_BF16, float16 on ARM64 and on GPUs, whatever the IR "
    "stores"
)
HARDWARE = frozenset({"BF16", "FP16"})
"""Of a device's OPTIMIZATION_CAPABILITIES: what it may choose in the place of float32."""


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """What a load without settings computes in on this machine; compiled to see where the device has a choice.

    No mark of an IR forbids the choice: of `runtime_options` in its rt_info, compiled models (2026.4.1) take
    KV_CACHE_PRECISION and pass over INFERENCE_PRECISION_HINT and EXECUTION_MODE_HINT (tried, and Source:
    openvinotoolkit/openvino, src/plugins/intel_cpu/src/config.cpp, Config::applyRtInfo).

    Raises:
        BundleError, BackendUnavailable, LoweringError: see `compile_ir`.
    """
    config = harmless_settings(settings)["config"]
    plain = {**settings, "config": {name: value for name, value in config.items() if name != HINT}}
    computed = computed_in(path, plain) if capable(settings["device"]) else proved
    call = f'core.compile_model("{path.name}", "{settings["device"]}")'
    if library := settings.get("library"):
        call = f"{call} after {own_operator.call(library)}"
    options = {HINT: str(config.get(HINT, "f32"))}
    return PlainLoad(call, False, options, WHY, computed, proved, plain, batch=_batch(path, settings))


def _batch(path: Path, settings: Mapping[str, Any]) -> str:
    """How a batch other than the file's own is had."""
    model = read_ir(path, settings)  # kept: ports of a model that is gone have no shapes
    first, *others = model.inputs[0].get_partial_shape()
    if first.is_dynamic or not settings.get("static_batches"):
        return ""
    shape = ", ".join(map(str, ["N", *others]))
    several = " for each input" if len(model.inputs) > 1 else ""
    return f"it takes batch {first}, and N after model.reshape([{shape}]){several}, -1 for any"


def capable(device: str) -> bool:
    """Whether a device has arithmetic that OpenVINO may choose in the place of float32."""
    return bool(HARDWARE.intersection(capabilities(device)))


def capabilities(device: str) -> tuple[str, ...]:
    """What a device computes in, in OpenVINO's words; of AUTO and the like, of whatever stands behind."""
    import openvino

    core = openvino.Core()
    try:
        return tuple(core.get_property(device, "OPTIMIZATION_CAPABILITIES"))
    except RuntimeError:
        return tuple(HARDWARE)  # a virtual device does not tell: it is compiled to see
