"""A float16 program in float32: what is stored in half stays that, and is computed with in float32.

Core AI's interpreter on Linux takes 6 to 25 times its time for float32 of tiny models in float16, and for a
Slide-Swin-T more than seven minutes an image. So what is proved here of a float16 asset is this: its own program and
weights, without the rounding of each result.

    Given    coreai.constant dense<0xFC00> : tensor<f16>        coreai.cast %2 : tensor<?x4xf16> to tensor<?x4xf32>
    Result   coreai.constant dense<0xFF800000> : tensor<f32>    coreai.cast %2 : tensor<?x4xf32> to tensor<?x4xf32>
"""

from __future__ import annotations

import re

import numpy as np

HALF = re.compile(r"(?<=[<x])f16(?=>)")
"""Half as the element type of a tensor."""
APART = re.compile(r"dense_resource<(?P<name>\w+)> : tensor<[0-9?x]*f16>")
BYTES = re.compile(r'dense<"0x(?P<bytes>[0-9A-F]+)">(?= : tensor<[0-9?x]*f16>)')
"""Many values that stand in the program."""
NUMBER = re.compile(r"dense<0x(?P<bits>[0-9A-F]{4})>(?= : tensor<[0-9?x]*f16>)")
"""One that is no decimal number: infinity."""
BLOB = re.compile(r'(?P<start>\b(?P<name>resource_\w+): "0x(?P<alignment>[0-9A-F]{8}))(?P<bytes>[0-9A-F]*)(?=")')


def widened(text: str) -> str:
    """A program's text with float32 in the place of float16, whose values are the same."""
    program, mark, stored = text.rpartition("dialect_resources:")
    if not mark:
        program, stored = text, ""
    halves = {match["name"] for match in APART.finditer(program)}
    program = BYTES.sub(lambda match: f'dense<"0x{_wide(match["bytes"])}">', program)
    program = NUMBER.sub(lambda match: f"dense<0x{_wide_bits(match['bits'])}>", program)
    stored = BLOB.sub(
        lambda match: match["start"] + (_wide(match["bytes"]) if match["name"] in halves else match["bytes"]), stored
    )
    return HALF.sub("f32", program) + mark + stored


def _wide(digits: str) -> str:
    """Bytes of halves, as those of floats."""
    return np.frombuffer(bytes.fromhex(digits), "<f2").astype("<f4").tobytes().hex().upper()


def _wide_bits(digits: str) -> str:
    """One number, its highest digit first."""
    return np.array(int(digits, 16), "<u2").view("<f2").astype(">f4").tobytes().hex().upper()
