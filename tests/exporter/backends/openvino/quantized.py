"""A convolution of 8-bit activations as an IR has it, and what it should give."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray
from openvino import opset13 as ops

from slide_export.proof.parity import sqnr_db

from .graphs import constant, parameter

STEP = np.float32(0.02)
RIGHT_DB = 100.0
"""Integers' sums have 140, those of float32 110 or more, and wrong ones some -3."""


def in_8_bits(x: Any, zero: int | None) -> Any:
    """x rounded and expanded again: unsigned with a zero point, signed without."""
    low, high, kind = (-128, 127, "i8") if zero is None else (0, 255, "u8")
    ends = [constant((bound - (zero or 0)) * STEP) for bound in (low, high)]
    rounded = ops.fake_quantize(x, *ends, constant(low), constant(high), 256)
    stored = ops.convert(ops.convert(rounded, kind), "f32")
    return ops.multiply(stored if zero is None else ops.subtract(stored, constant(zero)), constant(STEP))


@dataclass(frozen=True)
class Convolution:
    """Sides of a convolution of one image with random weights of 7 bits, of which two products overflow on no CPU.

    Attributes:
        taps, stride, padding: the same along both axes.
        zero: point of its activations, which are unsigned.
    """

    channels: int
    outputs: int
    taps: int
    stride: int
    size: tuple[int, int]
    padding: int = 0
    zero: int = 131

    def model(self) -> openvino.Model:
        """The layers, with the names "x" and "y" at their ends."""
        x = parameter(1, self.channels, *self.size)
        weights = ops.multiply(ops.convert(constant(self._weights(), np.int8), "f32"), constant(STEP))
        stride, padding = [self.stride] * 2, [self.padding] * 2
        y = ops.convolution(in_8_bits(x, self.zero), weights, stride, padding, padding, [1, 1], name="y")
        return openvino.Model([y], [x])

    def images(self) -> NDArray[np.float32]:
        """Whole steps within the range, so that nothing is rounded."""
        steps = np.random.default_rng(1).integers(0, 256, (1, self.channels, *self.size)) - self.zero
        return steps.astype(np.float32) * STEP

    def exact(self) -> NDArray[np.float64]:
        """Sums in float64."""
        x, w = torch.from_numpy(self.images()).double(), torch.from_numpy(self._weights() * np.float64(STEP))
        return torch.nn.functional.conv2d(x, w, None, self.stride, self.padding).numpy()

    def _weights(self) -> NDArray[np.int8]:
        sides = (self.outputs, self.channels, self.taps, self.taps)
        return np.random.default_rng(0).integers(-63, 64, sides).astype(np.int8)


def decibel(model: openvino.Model, asked: Convolution) -> float:
    """Signal to noise in dB of what this CPU computes; the last output is judged."""
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
    found = list(openvino.compile_model(model, "CPU", config)([asked.images()]).values())[-1]
    exact = asked.exact()
    return sqnr_db(exact, found - exact)
