"""What is quantized, how, and what is accepted of it: a YAML file that a person can read, edit and pass back.

Each target has a recipe of its own for each quantized precision, `recipes/TARGET-PRECISION.yaml`. Whatever a recipe
says, three things stay in float: softmax, LayerNorm, and products of two activations (q·k and weights·v), since their
errors go straight into the attention. NNCF's own attention pattern needs a Softmax before a MatMul and never matches
slide attention, so what is quantized is always said by name and never left to a library's patterns.
"""

import difflib
import importlib.resources
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from slide_export.errors import RequestError

KINDS = ("linear", "convolution", "depthwise")
ACCEPTABLE = ("constant-images", "duplicate-images", "wrong-normalisation", "channel-order")
"""Errors of the calibration audit that a recipe may allow; random images are never fit."""
CHOICES: dict[str, tuple[Any, ...]] = {
    "library": ("onnxruntime", "nncf", "coremltools"),
    "weights": ("linear", "palettized"),
    "weight_bits": (8, 6, 4),
    "activations": ("asymmetric", "symmetric", "float"),
    "ranges": ("minmax", "percentile", "entropy"),
    "reduce_range": ("auto", "on", "off"),
    "tables": ("half", "float"),
}
COMMENTS = {
    "library": "which library quantizes",
    "weights": "linear: one scale for each output channel; palettized: a table of values (coremltools alone)",
    "weight_bits": "linear: 8; palettized: 8, 6 or 4",
    "per_channel": "a scale for each output channel; false has one for a whole tensor",
    "activations": "asymmetric, symmetric, or float where weights alone are quantized",
    "ranges": "how an activation's range is observed: minmax, percentile or entropy",
    "percentile": "of the values that stay inside the range, for `ranges: percentile`",
    "reduce_range": "7-bit weights, for CPUs whose 8-bit products overflow (x86 without VNNI); auto asks this CPU",
    "quantize_bias": "biases as int32; TensorRT takes float ones alone",
    "smooth_quant": "0..1 moves outliers from activations into weights (nncf alone); null leaves them",
    "bias_correction": "let nncf correct biases for what quantization shifts",
    "quantize": "of linear, convolution, depthwise (the slide convolutions)",
    "tables": "how large constants that are only added are stored, position biases above all",
    "keep_fp32": "PyTorch modules that stay in float, with all that is in them; * and ? are wildcards",
    "min_sqnr_db": "refused below this signal to quantization noise, on the images of the parity check",
    "min_top1": "refused where this share of equal top classes can be ruled out",
    "accept": "findings of the calibration audit that do not stop the export",
}


@dataclass(frozen=True)
class QuantizationRecipe:
    """One way to quantize a model; `COMMENTS` says what each field is."""

    library: str
    activations: str
    min_sqnr_db: float
    min_top1: float
    weights: str = "linear"
    weight_bits: int = 8
    per_channel: bool = True
    ranges: str = "minmax"
    percentile: float = 99.99
    reduce_range: str = "auto"
    quantize_bias: bool = True
    smooth_quant: float | None = None
    bias_correction: bool = False
    quantize: tuple[str, ...] = ("linear", "convolution")
    tables: str = "float"
    keep_fp32: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()

    @property
    def calibrated(self) -> bool:
        """Whether activations are quantized, so that their ranges have to be observed on images."""
        return self.activations != "float"

    def quantizes(self, module: str, kind: str) -> bool:
        """Tells whether a layer of a kind of `KINDS` is quantized, by the name of its PyTorch module."""
        return kind in self.quantize and not any(matches(module, pattern) for pattern in self.keep_fp32)

    def resolved(self) -> "QuantizationRecipe":
        """Returns the recipe with `auto` replaced by what this machine's CPU needs."""
        if self.reduce_range != "auto":
            return self
        return replace(self, reduce_range="on" if self.calibrated and overflows() else "off")


def matches(module: str, pattern: str) -> bool:
    """Tells whether a pattern names a module or one around it: `layers.0` has `layers.0.blocks.1.attn.qkv` in it."""
    parts = module.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def overflows() -> bool:
    """Tells whether this CPU adds pairs of 8-bit products in 16 bits, as x86 does without VNNI (VPMADDUBSW).

    Source: ONNX Runtime, docs/performance/model-optimizations/quantization.md, "reduce_range".
    """
    import torch

    has = torch.cpu.get_capabilities()
    return has.get("architecture") == "x86_64" and not (has.get("avx512_vnni") or has.get("avx_vnni"))


def default(target: str, precision: str) -> QuantizationRecipe:
    """Returns the recipe that comes with slide-export for a target and a quantized precision."""
    file = importlib.resources.files("slide_export.calibration") / "recipes" / f"{target}-{precision}.yaml"
    return parse(file.read_text(encoding="utf-8"), file.name)


def load(path: Path, precision: str) -> QuantizationRecipe:
    """Returns a user's recipe.

    Raises:
        RequestError: the file cannot be read, is no recipe, or is one of another precision.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"expected a quantization recipe, {path} cannot be read: {error}") from error
    recipe = parse(text, path.name)
    if recipe.calibrated != (precision == "int8"):
        raise RequestError(
            f"expected a recipe of {precision}, {path.name} has activations: {recipe.activations}; "
            "int8 quantizes activations too, w8 leaves them in float"
        )
    return recipe


def parse(text: str, name: str) -> QuantizationRecipe:
    """Returns the recipe in a YAML text.

    Raises:
        RequestError: the text is no YAML mapping, a field is unknown or missing, or a value does not fit its field.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RequestError(f"expected YAML in {name}, found {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise RequestError(f"expected a YAML mapping such as `library: onnxruntime` in {name}, found {content!r:.60}")
    known = [field.name for field in fields(QuantizationRecipe)]
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f": did you mean {close[0]!r}?" if close else f"; the fields are {', '.join(known)}"
            raise RequestError(f"expected a field of a quantization recipe in {name}, found {key!r}{hint}")
    values = {key: _value(name, key, value) for key, value in content.items()}
    try:
        recipe = QuantizationRecipe(**values)
    except TypeError as error:
        raise RequestError(f"expected every field of a recipe in {name}: {str(error).partition('() ')[2]}") from error
    _check(recipe, name)
    return recipe


def _value(name: str, key: str, value: Any) -> Any:
    """Returns a value in its field's type."""
    kind = get_type_hints(QuantizationRecipe)[key]
    if key in CHOICES:
        value = {True: "on", False: "off"}.get(value, value) if key == "reduce_range" else value  # YAML 1.1's on, off
        if value in CHOICES[key]:
            return value
        raise RequestError(
            f"expected {key} in {name} to be one of {', '.join(map(str, CHOICES[key]))}; found {value!r}"
        )
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise RequestError(f"expected {key} in {name} to be a list of names, found {value!r}")
    if kind is bool and isinstance(value, bool):
        return value
    if kind == float | None and value is None:
        return None
    if kind in (float, float | None) and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise RequestError(
        f"expected {key} in {name} to be {'true or false' if kind is bool else 'a number'}, found {value!r}"
    )


def _check(recipe: QuantizationRecipe, name: str) -> None:
    """Refuses what no library of the recipe can do."""
    wrong = [kind for kind in recipe.quantize if kind not in KINDS]
    unknown = [name for name in recipe.accept if name not in ACCEPTABLE]
    refusals = {
        f"findings of {', '.join(ACCEPTABLE)} in `accept`, found {unknown[0] if unknown else ''!r}": bool(unknown),
        f"kinds of {', '.join(KINDS)} in `quantize`, found {wrong[0] if wrong else ''!r}": bool(wrong),
        "a percentile over 50 and at most 100": not 50 < recipe.percentile <= 100,
        "smooth_quant within 0 and 1": recipe.smooth_quant is not None and not 0 <= recipe.smooth_quant <= 1,
        "min_top1 within 0 and 1": not 0 <= recipe.min_top1 <= 1,
        "8-bit weights, unless they are palettized": recipe.weights == "linear" and recipe.weight_bits != 8,
        "palettized weights with library coremltools alone": recipe.weights == "palettized"
        and recipe.library != "coremltools",
        "smooth_quant and bias_correction with library nncf alone": recipe.library != "nncf"
        and (recipe.smooth_quant is not None or recipe.bias_correction),
        "ranges minmax or percentile with library nncf": recipe.library == "nncf" and recipe.ranges == "entropy",
        "tables: float with library coremltools, which keeps them so": (
            recipe.library == "coremltools" and recipe.tables == "half"
        ),
        "activations: float with library coremltools: quantizing them needs CoreML's predict, so macOS": (
            recipe.library == "coremltools" and recipe.calibrated
        ),
    }
    for expected, refused in refusals.items():
        if refused:
            raise RequestError(f"expected {expected} ({name})")


def dump(recipe: QuantizationRecipe, title: str) -> str:
    """Returns the recipe as YAML, each field under a comment that says what it is; `parse` reads it back."""
    lines = [f"# {title}", "# Edit it and pass it back: slide-export CHECKPOINT --quantization-recipe FILE", ""]
    for key, value in asdict(recipe).items():
        plain = list(value) if isinstance(value, tuple) else value
        lines += [f"# {COMMENTS[key]}", yaml.safe_dump({key: plain}, default_flow_style=False).strip()]
    return "\n".join(lines) + "\n"
