"""What `MLModel(contentsOf:)` computes, and what has to be set so that it is what was proved."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slide_export.core.plain_load import PlainLoad

CALL = "MLModel(contentsOf: url)"
UNITS = {"CPU_ONLY": "cpuOnly", "CPU_AND_GPU": "cpuAndGPU", "CPU_AND_NE": "cpuAndNeuralEngine"}
TYPES = {
    "float32": "a program in float32 never runs on the Neural Engine, and a GPU adds in float32 unless "
    "allowLowPrecisionAccumulationOnGPU is set",
    "typed": "values are float16 as the program says; how wide sums inside an operation are is the device's choice",
}


def plain_load(path: Path, settings: Mapping[str, Any], proved: tuple[str, ...]) -> PlainLoad:
    """CoreML computes in the types of the program, on all compute units unless told otherwise.

    Source: coremltools 9.0, docs "Typed Execution"; Apple, MLModelConfiguration. Never run on an Apple device here: the
    proof elsewhere than on macOS is of our evaluator.
    """
    why = TYPES[settings["mode"]]
    units = UNITS.get(settings["compute_units"])
    if units is None:
        return PlainLoad(CALL, True, {}, why)
    return PlainLoad(CALL, False, {"computeUnits": f".{units}"}, f"it runs on every compute unit; {why}")
