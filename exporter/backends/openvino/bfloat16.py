"""An IR in bfloat16: what it stores, and whether a processor computes in it.

A CPU without bfloat16 arithmetic computes such an IR in float32, whatever hint it is given: other answers at the speed
of float32. So the precision is made and run only where the device says that it has the type.

Source: S. Wang and P. Kanwar, BFloat16: the secret to high performance on Cloud TPUs, 2019 (the type); IEEE 754-2019,
section 4.3.1, roundTiesToEven (the rounding).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.precision import BF16

from .plain import capabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

DEVICE = "CPU"  # the one kind of OpenVINO's devices that computes in it
LEAST_VALUES = 2
"""Of a constant that is stored in 16 bits: an epsilon or a bound is exact, and no weight."""
KEPT_BITS, LAST_KEPT = np.uint32(16), np.uint32(1)


def precision_obstacle(precision: str) -> str | None:
    """Why this machine does not compute in a precision, None where it does."""
    if precision != BF16.name or "BF16" in capabilities(DEVICE):
        return None
    return (
        "its processor has no bfloat16 arithmetic (AMX or AVX512_BF16 on x86), OpenVINO would compute in float32: make "
        "and run it on one that has, or take fp32"
    )


def store_in_bfloat16(model: Any) -> None:
    """Store every float constant of several values in bfloat16, with a Convert behind it; in place.

    Given    weight f32 -> MatMul
    Result   weight bf16 -> Convert(f32) -> MatMul          the constant keeps its name
    """
    import openvino

    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and node.get_element_type() == openvino.Type.f32:
            values = np.ascontiguousarray(node.data)
            if values.size >= LEAST_VALUES:
                _replace(node, values)
    model.validate_nodes_and_infer_types()


def _replace(node: Any, values: NDArray[np.float32]) -> None:
    import openvino
    from openvino import opset13

    halved = openvino.Tensor(openvino.Type.bf16, openvino.Shape(values.shape))  # owns its memory, as a view does not
    halved.data.view(np.uint16)[...] = rounded(values)  # the binding calls the type float16, of the same size
    constant = openvino.op.Constant(halved)
    expanded = opset13.convert(constant, "f32")
    users = list(node.output(0).get_target_inputs())
    name = node.get_friendly_name()
    constant.set_friendly_name(name)
    expanded.set_friendly_name(f"{name}/Convert")
    for port in users:
        port.replace_source_output(expanded.output(0))


def rounded(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper halves of float32's bits, rounded to the nearest, ties to even; a NaN stays one.

    Given    0x3F808000 (between 0x3F80 and 0x3F81)   0x3F818000 (between 0x3F81 and 0x3F82)
    Result   0x3F80                                   0x3F82
    """
    bits = values.view(np.uint32)
    odd = (bits >> KEPT_BITS) & LAST_KEPT
    nearest = ((bits + np.uint32(0x7FFF) + odd) >> KEPT_BITS).astype(np.uint16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), nearest).astype(np.uint16)
