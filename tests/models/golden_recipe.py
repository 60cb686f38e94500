"""Golden cases of the systems whose weights are not stored: drawn again from a seeded recipe, and fingerprinted.

Given   golden/systems/NAME.json   every key in upstream's order, the recipe, the inputs' recipe, sha256 over the state
        golden/systems/NAME.npz    outputs of upstream's own code, and the tensors that no recipe gives (`state.KEY`)
        golden/systems/cases.json  upstream's constructor options, source, noise between float32 and float64
Result  Case(meta, inputs, outputs, state)

The recipe is NumPy alone, because torch's generator draws other last digits on a processor without AVX2.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SYSTEMS = Path(__file__).parent / "golden" / "systems"

Float32 = NDArray[np.float32]
F = np.float32


@dataclass(frozen=True)
class Case:
    """One model of upstream's: options, inputs, outputs (features and orders too) and the whole state dict."""

    name: str
    meta: dict[str, Any]
    inputs: dict[str, Tensor]
    outputs: dict[str, NDArray[Any]]
    state: dict[str, Tensor]

    @property
    def options(self) -> dict[str, Any]:
        """Upstream's constructor options."""
        options: dict[str, Any] = self.meta["config"]
        return options


def case(name: str, folder: Path = SYSTEMS) -> Case:
    """Draw one golden case.

    Args:
        name: as in the folder's `cases.json`.
        folder: where the case's files lie.

    Raises:
        ValueError: the weights drawn are not those that the outputs were computed with.
    """
    recipe = json.loads((folder / f"{name}.json").read_text())
    with np.load(folder / f"{name}.npz") as file:
        stored = {key: file[key] for key in file.files}
    kept = {key.removeprefix("state."): value for key, value in stored.items() if key.startswith("state.")}
    drawn = _stream(recipe) if recipe["recipe"] == "stream" else _by_names(recipe)
    order = [row if isinstance(row, str) else row[0] for row in recipe["state"]]
    state = {key: kept[key] if key in kept else drawn[key] for key in order}
    if fingerprint(state) != recipe["sha256"]:
        raise ValueError(f"{name}: expected the weights that the outputs were computed with, drew others")
    inputs = {key: _input(rule, stored) for key, rule in recipe["inputs"].items()}
    return Case(
        name,
        json.loads((folder / "cases.json").read_text())[name],
        {key: torch.from_numpy(value) for key, value in inputs.items()},
        {key: value for key, value in stored.items() if not key.startswith(("state.", "input"))},
        {key: torch.from_numpy(value) for key, value in state.items()},
    )


def fingerprint(state: dict[str, NDArray[Any]]) -> str:
    """Hash every key, type, shape and value, in the order of the keys."""
    digest = hashlib.sha256()
    for key in sorted(state):
        value = np.ascontiguousarray(state[key]).reshape(state[key].shape)  # a scalar stays one
        digest.update(f"{key}\t{value.dtype.str}\t{'x'.join(map(str, value.shape))}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _stream(recipe: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """All tensors one after the other from one generator; a draw without a key only moves the generator on."""
    numbers, drawn = TorchNumbers(recipe["seed"]), {}
    for key, kind, shape, plus, times, *divisor in recipe["draws"]:
        value = numbers.normal(tuple(shape)) if kind == "randn" else numbers.uniform(tuple(shape))
        if key:
            scaled = value / F(divisor[0]) if divisor else value
            drawn[key] = np.asarray(scaled * F(times) + F(plus), F)
    return drawn


def _by_names(recipe: dict[str, Any]) -> dict[str, NDArray[Any]]:
    """Each tensor from its own name (or the name that it stands `as`), whatever the rest of the model."""
    drawn = {}
    for key, *rest in recipe["state"]:
        if rest:
            how = rest[1] if len(rest) > 1 else {}
            drawn[key] = np.asarray(from_name(how.get("as", key), tuple(rest[0])) * F(how.get("times", 1)), F)
    return drawn


def from_name(name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Weights of unit gain, scales near one, variances of 0.5 to 1.5, biases and tables that are small."""
    generator = np.random.RandomState(int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little"))
    normal, leaf = generator.standard_normal(shape).astype(F), name.rpartition(".")[2]
    if "running_var" in name:
        return np.asarray(0.5 + generator.random_sample(shape), F)
    if "table" in name or "pos_embed" in name or leaf in ("rpb", "cls_token"):
        return np.asarray(F(0.2) * normal, F)
    if len(shape) > 1:
        return np.asarray(normal.astype(np.float64) / math.sqrt(math.prod(shape[1:])), F)
    is_scale = leaf in ("weight", "gamma", "gamma1", "gamma2")
    return np.asarray(F(1) + F(0.2) * normal if is_scale else F(0.1) * normal, F)


def _input(rule: dict[str, Any], stored: dict[str, NDArray[Any]]) -> Float32:
    shape = tuple(rule["shape"])
    if "photo" in rule:
        return _normalised(stored[rule["photo"]], shape)
    if "randn" in rule:
        return TorchNumbers(rule["randn"]).normal(shape)
    return np.asarray(F(rule.get("times", 1)) * _photograph(shape, rule["image"]) + F(rule.get("plus", 0)), F)


def _normalised(photo: NDArray[Any], shape: tuple[int, ...]) -> Float32:
    """A stored photograph uint8 [B, 3, h, w], normalised, with zeros at the bottom and the right."""
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]))
    padded = np.zeros(shape, F)
    padded[:, :, : photo.shape[2], : photo.shape[3]] = (photo - mean) / std
    return padded


def _photograph(shape: tuple[int, ...], seed: int) -> Float32:
    """Noise on grids of four sizes, of about unit variance: smooth as a photograph is."""
    generator, (batch, channels, rows, cols) = np.random.RandomState(seed), shape
    image = np.zeros(shape, F)
    for side in (7, 14, 28, 56):
        grid = generator.standard_normal((batch, channels, side, side)).astype(F)
        tile = np.ones((1, 1, math.ceil(rows / side), math.ceil(cols / side)), F)
        image += np.kron(grid, tile)[:, :, :rows, :cols]
    return np.asarray(image / F(2), F)


class TorchNumbers:
    """The numbers of `torch.Generator().manual_seed(seed)` on an x86 processor with AVX2, bit for bit.

    A Mersenne twister; 24 bits make a uniform number. Normal numbers, 16 and more: Box-Muller in float32 in blocks of
    16 with Cephes' polynomials, the last 16 drawn again where the count is no multiple; fewer: Box-Muller in float64,
    whose second number waits for the next call.

    Source: torch 2.13, aten/src/ATen/native/cpu/DistributionTemplates.h, normal_fill_AVX2 and normal_distribution;
    aten/src/ATen/native/cpu/avx_mathfun.h, log256_ps and sincos256_ps.
    """

    LOG = (
        -1.1514610310e-1,
        1.1676998740e-1,
        -1.2420140846e-1,
        1.4249322787e-1,
        -1.6668057665e-1,
        2.0000714765e-1,
        -2.4999993993e-1,
        3.3333331174e-1,
    )

    def __init__(self, seed: int) -> None:
        self._twister = np.random.RandomState(seed)
        self._spare: float | None = None

    def uniform(self, shape: tuple[int, ...]) -> Float32:
        """Draw numbers of [0, 1)."""
        bits = self._words(math.prod(shape)) & 0xFFFFFF
        return np.asarray(bits.astype(F) * F(2**-24), F).reshape(shape)

    def normal(self, shape: tuple[int, ...]) -> Float32:
        """Draw numbers of mean 0 and variance 1."""
        count = math.prod(shape)
        if count < 16:
            return np.array([self._double() for _ in range(count)], F).reshape(shape)
        numbers, whole = self.uniform((count,)), count - count % 16
        numbers[:whole] = self._blocks(numbers[:whole].reshape(-1, 16)).reshape(-1)
        if count % 16:
            numbers[-16:] = self._blocks(self.uniform((1, 16)))[0]
        return numbers.reshape(shape)

    def _words(self, count: int) -> NDArray[np.uint32]:
        return np.frombuffer(self._twister.bytes(4 * count), "<u4")

    def _double(self) -> float:
        if self._spare is not None:
            number, self._spare = self._spare, None
            return number
        words = [int(word) for word in self._words(4)]
        u, v = (((high << 32 | low) & (2**53 - 1)) * 2.0**-53 for high, low in (words[:2], words[2:]))
        radius = math.sqrt(-2 * math.log1p(-v))
        self._spare = radius * math.sin(2 * math.pi * u)
        return radius * math.cos(2 * math.pi * u)

    def _blocks(self, uniform: Float32) -> Float32:
        radius = np.sqrt(F(-2) * self._log(F(1) - uniform[:, :8]))
        sine, cosine = self._sine_and_cosine(F(2 * math.pi) * uniform[:, 8:])
        return np.concatenate([radius * cosine, radius * sine], axis=1)

    def _log(self, x: Float32) -> Float32:
        bits = x.view(np.int32)
        mantissa, exponent = (bits & 0x7FFFFF | 0x3F000000).view(F), ((bits >> 23) - 126).astype(F)
        low = mantissa < F(0.70710678)
        x = np.where(low, mantissa - F(1) + mantissa, mantissa - F(1))
        exponent = np.where(low, exponent - F(1), exponent)
        y, square = np.full_like(x, F(7.0376836292e-2)), x * x
        for coefficient in self.LOG:
            y = _fused(y, x, F(coefficient))
        y = _fused(-square, F(0.5), _fused(y * x, square, exponent * F(-2.12194440e-4)))
        return _fused(exponent, F(0.693359375), x + y)

    def _sine_and_cosine(self, x: Float32) -> tuple[Float32, Float32]:
        octant = ((x * F(1.27323954473516)).astype(np.int32) + 1) & ~1
        for part in (-0.78515625, -2.4187564849853515625e-4, -3.77489497744594108e-8):  # pi / 4 in three parts
            x = _fused(octant.astype(F), F(part), x)
        z = x * x
        cosine = _fused(np.full_like(z, F(2.443315711809948e-5)), z, F(-1.388731625493765e-3))
        cosine = _fused(cosine, z, F(4.166664568298827e-2)) * z
        cosine = _fused(cosine, z, -(z * F(0.5))) + F(1)
        sine = _fused(np.full_like(z, F(-1.9515295891e-4)), z, F(8.3321608736e-3))
        sine = _fused(sine, z, F(-1.6666654611e-1)) * z
        sine = _fused(sine, x, x)
        plain = octant & 2 == 0
        sine, cosine = np.where(plain, sine, cosine), np.where(plain, cosine, sine)
        return np.where(octant & 4 != 0, -sine, sine), np.where(~(octant - 2) & 4 != 0, -cosine, cosine)


def _fused(a: Float32, b: Float32 | np.float32, c: Float32 | np.float32) -> Float32:
    """a*b + c in float32 with one rounding, as the processor's fused instruction computes it."""
    return np.asarray(a.astype(np.float64) * b + c, F)
