"""Golden cases of original implementations: weights and inputs drawn again, outputs as they were computed.

A case is two files and an entry. `NAME.json`: every key in upstream's order, how each tensor is drawn, and the
sha256 of them all. `NAME.npz`: the outputs and, under `state.KEY`, what no recipe gives: index buffers, masks,
calibrated last layers. NAME in `cases.json`: architecture and options in upstream's words. NumPy draws all of it,
bit for bit the same everywhere.
"""

import hashlib
import json
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
Floats = NDArray[np.float32]
PHOTO_MEAN = np.array([123.675, 116.28, 103.53]).reshape(1, 3, 1, 1)  # of ImageNet, in 0..255
PHOTO_STD = np.array([58.395, 57.12, 57.375]).reshape(1, 3, 1, 1)


@dataclass(frozen=True)
class Case:
    """One small model of an original implementation.

    Attributes:
        about: its entry in `cases.json`.
        inputs: float32 arrays by name, what the model was given.
        outputs: `logits`, `feature.stage{n}` and so on, as upstream returned them.
        state: its state dict in upstream's order.
    """

    about: Mapping[str, Any]
    inputs: Mapping[str, Floats]
    outputs: Mapping[str, NDArray[Any]]
    state: "OrderedDict[str, Tensor]"

    @property
    def images(self) -> Tensor:
        """The only input, [B, 3, H, W]."""
        return torch.from_numpy(self.inputs["input"])


def names(folder: Path = GOLDEN) -> tuple[str, ...]:
    """List the cases of one folder."""
    return tuple(json.loads((folder / "cases.json").read_text()))


def case(name: str, folder: Path = GOLDEN) -> Case:
    """Draw a case.

    Raises:
        ValueError: the weights are not those that the outputs were computed with.
    """
    about = json.loads((folder / "cases.json").read_text())[name]
    recipe = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as file:
        stored = dict(file)
    kept = {key.removeprefix("state."): torch.from_numpy(v) for key, v in stored.items() if key.startswith("state.")}
    draw = {"names": _drawn_by_name, "stream": _drawn_in_turn}[recipe["recipe"]]
    order, drawn = draw(recipe)
    state = OrderedDict((key, kept[key] if key in kept else drawn[key]) for key in order)
    if fingerprint(state) != recipe["sha256"]:
        raise ValueError(f"{name}: drew other weights than its outputs were computed with: the file or NumPy changed")
    inputs = {key: _input(rule, stored) for key, rule in recipe["inputs"].items()}
    outputs = {key: v for key, v in stored.items() if not key.startswith(("state.", "input"))}
    inputs |= {key: v for key, v in stored.items() if key.startswith("input") and not key.endswith(".uint8")}
    return Case(about, inputs, outputs, state)


def fingerprint(state: Mapping[str, Tensor]) -> str:
    """Hash a state dict: name, type, shape and bytes of each tensor, sorted by name."""
    digest = hashlib.sha256()
    for key in sorted(state):
        array = np.ascontiguousarray(state[key].numpy()).reshape(state[key].shape)
        shape = "x".join(str(side) for side in array.shape)
        digest.update(f"{key}\t{array.dtype.str}\t{shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _drawn_by_name(recipe: Mapping[str, Any]) -> tuple[list[str], dict[str, Tensor]]:
    """Draw each tensor from its own name, whatever stands beside it; a row without a shape is stored."""
    drawn = {}
    for key, *row in recipe["state"]:
        if row:
            options = row[1] if len(row) > 1 else {}
            values = by_name(options.get("as", key), tuple(row[0])) * np.float32(options.get("times", 1))
            drawn[key] = torch.from_numpy(np.asarray(values, np.float32))
    return [row[0] for row in recipe["state"]], drawn


def by_name(name: str, shape: tuple[int, ...]) -> Floats:
    """Draw a tensor whose seed is its name and whose spread is that of its kind."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    numbers = np.random.RandomState(seed)
    normal = numbers.standard_normal(shape).astype(np.float32)
    last = name.rpartition(".")[2]
    if "running_var" in name:
        return (0.5 + numbers.random_sample(shape)).astype(np.float32)
    if "table" in name or "pos_embed" in name or last in ("rpb", "cls_token"):
        return np.float32(0.2) * normal
    if len(shape) >= 2:
        return (normal.astype(np.float64) / math.sqrt(math.prod(shape[1:]))).astype(np.float32)
    if last in ("weight", "gamma", "gamma1", "gamma2"):
        return np.float32(1) + np.float32(0.2) * normal
    return np.float32(0.1) * normal


def _drawn_in_turn(recipe: Mapping[str, Any]) -> tuple[list[str], dict[str, Tensor]]:
    """Draw every tensor from one generator, one after the other; a draw without a key only moves it on."""
    numbers, drawn = TorchGenerator(recipe["seed"]), {}
    kinds: dict[str, Callable[[tuple[int, ...]], Floats]] = {"rand": numbers.rand, "randn": numbers.randn}
    for key, kind, shape, plus, times, *divisor in recipe["draws"]:
        values = kinds[kind](tuple(shape))
        if key:
            values = values / np.float32(divisor[0]) if divisor else values
            drawn[key] = torch.from_numpy(values * np.float32(times) + np.float32(plus))
    return recipe["state"], drawn


def _input(rule: Mapping[str, Any], stored: Mapping[str, NDArray[Any]]) -> Floats:
    shape = tuple(rule["shape"])
    if "randn" in rule:
        return TorchGenerator(rule["randn"]).randn(shape)
    if "image" in rule:
        return np.float32(rule.get("times", 1)) * smooth(shape, rule["image"]) + np.float32(rule.get("plus", 0))
    photo, padded = stored[rule["photo"]], np.zeros(shape, np.float32)
    padded[:, :, : photo.shape[2], : photo.shape[3]] = ((photo - PHOTO_MEAN) / PHOTO_STD).astype(np.float32)
    return padded


def smooth(shape: tuple[int, ...], seed: int) -> Floats:
    """Draw something like a photograph: noise of four scales, about unit variance, [B, C, H, W]."""
    numbers, (batch, channels, rows, cols) = np.random.RandomState(seed), shape
    total = np.zeros(shape, np.float32)
    for cells in (7, 14, 28, 56):
        grid = numbers.standard_normal((batch, channels, cells, cells)).astype(np.float32)
        tile = np.ones((1, 1, -(-rows // cells), -(-cols // cells)), np.float32)
        total += np.kron(grid, tile)[:, :, :rows, :cols]  # [B, C, H, W]
    return total / np.float32(2)


class TorchGenerator:
    """The numbers of `torch.Generator().manual_seed(seed)` on an x86 processor with AVX2, in NumPy.

    torch's own last digits depend on the processor. Mersenne twister; `rand` has 24 bits a number; `randn` of 16
    numbers or more is Box-Muller in float32 on blocks of 16 (first half radii, second half angles), an incomplete
    last block drawn anew; of fewer it is Box-Muller in float64, whose second number waits for the next call.
    Source: torch 2.13, ATen/native/cpu/DistributionTemplates.h, normal_fill_AVX2 and normal_distribution;
    ATen/native/cpu/avx_mathfun.h, log256_ps and sincos256_ps (Cephes' polynomials).
    """

    LOG = (  # highest power first
        7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    )  # fmt: skip
    LN2 = (-2.12194440e-4, 0.693359375)  # their sum is ln 2
    QUARTER = (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8)  # their sum is -pi / 4
    COSINE = (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)
    SINE = (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)

    def __init__(self, seed: int) -> None:
        self.twister = np.random.RandomState(seed)
        self.waiting: float | None = None

    def rand(self, shape: tuple[int, ...]) -> Floats:
        """Draw uniform numbers in [0, 1)."""
        bits = self._words(math.prod(shape)) & 0xFFFFFF
        return (bits.astype(np.float32) * np.float32(2**-24)).reshape(shape)

    def randn(self, shape: tuple[int, ...]) -> Floats:
        """Draw normal numbers."""
        count = math.prod(shape)
        if count < 16:
            return np.array([self._one() for _ in range(count)], np.float32).reshape(shape)
        values, whole = self.rand((count,)), count - count % 16
        values[:whole] = self._blocks(values[:whole].reshape(-1, 16)).reshape(-1)
        if whole < count:
            values[-16:] = self._blocks(self.rand((1, 16)))[0]
        return values.reshape(shape)

    def _words(self, count: int) -> NDArray[np.uint32]:
        return np.frombuffer(self.twister.bytes(4 * count), "<u4")

    def _one(self) -> float:
        if self.waiting is not None:
            value, self.waiting = self.waiting, None
            return value
        words = [int(word) for word in self._words(4)]
        angle, share = (((high << 32 | low) & (2**53 - 1)) * 2.0**-53 for high, low in (words[:2], words[2:]))
        radius = math.sqrt(-2 * math.log1p(-share))
        self.waiting = radius * math.sin(2 * math.pi * angle)
        return radius * math.cos(2 * math.pi * angle)

    def _blocks(self, uniform: Floats) -> Floats:
        radius = np.sqrt(np.float32(-2) * self._log(np.float32(1) - uniform[:, :8]))
        sine, cosine = self._sine_and_cosine(np.float32(2 * math.pi) * uniform[:, 8:])
        return np.concatenate([radius * cosine, radius * sine], axis=1)

    def _log(self, x: Floats) -> Floats:
        one, bits = np.float32(1), x.view(np.int32)
        mantissa = (bits & 0x7FFFFF | 0x3F000000).view(np.float32)
        exponent = ((bits >> 23) - 126).astype(np.float32)
        small = mantissa < np.float32(0.70710678)
        x = np.where(small, mantissa - one + mantissa, mantissa - one)
        exponent = np.where(small, exponent - one, exponent)
        square = x * x
        y = multiply_add(_polynomial(self.LOG, x) * x, square, exponent * np.float32(self.LN2[0]))
        return multiply_add(exponent, np.float32(self.LN2[1]), x + multiply_add(-square, np.float32(0.5), y))

    def _sine_and_cosine(self, x: Floats) -> tuple[Floats, Floats]:
        octant = ((x * np.float32(1.27323954473516)).astype(np.int32) + 1) & ~1  # of 4 / pi
        for part in self.QUARTER:
            x = multiply_add(octant.astype(np.float32), np.float32(part), x)
        square = x * x
        cosine = multiply_add(_polynomial(self.COSINE, square) * square, square, -(square * np.float32(0.5)))
        cosine = cosine + np.float32(1)
        sine = multiply_add(_polynomial(self.SINE, square) * square, x, x)
        straight = octant & 2 == 0
        sine, cosine = np.where(straight, sine, cosine), np.where(straight, cosine, sine)
        return np.where(octant & 4 != 0, -sine, sine), np.where((octant + 2) & 4 != 0, -cosine, cosine)


def _polynomial(coefficients: tuple[float, ...], x: Floats) -> Floats:
    value = np.full_like(x, np.float32(coefficients[0]))
    for coefficient in coefficients[1:]:
        value = multiply_add(value, x, np.float32(coefficient))
    return value


def multiply_add(a: Floats, b: Floats | np.float32, c: Floats | np.float32) -> Floats:
    """Compute a * b + c in float32 with one rounding, as the processor's instruction does."""
    return (a.astype(np.float64) * b + c).astype(np.float32)
