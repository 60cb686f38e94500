"""Convolutions that OpenVINO 2026.4 computes wrongly in 8 bits, to some -3 dB.

They are dense, and

1. a row of the kernel has four taps or more, and channels, fewer than the 64 that a row of an AMX tile has room for,
   times taps fill whole rows: the spatial reduction of PVTv2-B0 (32 channels, 8x8). On processors with AMX alone.
2. the result is one place wide, of two taps or more. With AVX-512 alone too.

Of 1,000 convolutions of random sizes 40 were wrong, all of them such, and none once it was fed in float
(`python -m tests.benchmarks.openvino_convolutions`).
"""

from __future__ import annotations

from typing import Any

FILLING_TAPS, ONE_PLACE_TAPS = 4, 2
TILE = 64  # bytes in a row of an AMX tile
EXPANDING = ("Multiply", "Subtract", "Convert")


def feed_in_float(model: Any) -> None:
    """Feed these convolutions what has not been rounded to 8 bits; in place. Their weights stay as they are.

    Given    x -> FakeQuantize -> Convert -> Convert -> Subtract -> Multiply -> Convolution(weight i8)
    Result   x -> Convolution(weight i8)
    """
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Convolution" and _is_wrong(node):
            unrounded = _before_rounding(node.input_value(0).get_node())
            if unrounded is not None:
                node.input(0).replace_source_output(unrounded)
    model.validate_nodes_and_infer_types()


def _is_wrong(convolution: Any) -> bool:
    channels, taps = (convolution.input(1).get_partial_shape()[axis].get_length() for axis in (1, 3))
    width = convolution.output(0).get_partial_shape()[3]
    fills_tiles = taps >= FILLING_TAPS and channels < TILE and channels * taps % TILE == 0  # Case 1
    one_place = taps >= ONE_PLACE_TAPS and width.is_static and width.get_length() == 1  # Case 2
    return bool(fills_tiles or one_place)


def _before_rounding(node: Any) -> Any | None:
    """What was rounded to 8 bits, by the node that expands it again; None where nothing was."""
    kinds = [node.get_type_name()]
    while kinds[-1] in EXPANDING:
        node = node.input_value(0).get_node()
        kinds.append(node.get_type_name())
    with_zero_point = [*EXPANDING, "Convert", "FakeQuantize"]
    without = [kind for kind in with_zero_point if kind != "Subtract"]
    return node.input_value(0) if kinds in (with_zero_point, without) else None
