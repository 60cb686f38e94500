"""What is quantized, how, and what is accepted of it: a YAML file that a person can read, edit and pass back.

Each target has a recipe of its own for each quantized precision, `PRECISION.yaml` in its backend's folder. Whatever a
recipe says, three things stay in float: softmax, LayerNorm, and products of two activations (q·k and weights·v), since
their errors go straight into the attention. NNCF's own attention pattern needs a Softmax before a MatMul and never
matches slide attention, so what is quantized is always said by name and never left to a library's patterns.
"""

import difflib
import importlib.util
from dataclasses import asdict, dataclass, fields, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any, get_type_hints

from slide_export.core.errors import RequestError
from slide_export.core.precision import INT8, INT8_DYNAMIC, PRECISIONS, W8, Precision
from slide_export.core.text import foreign

from .class_names import read_text
from .plain_yaml import dump_field, quoted, read_mapping

KINDS = ("linear", "convolution", "depthwise")
SUMS_OF_TAPS = frozenset({"head_sum", "sums", "sum_biases", "spreads", "spread_biases"})
"""Modules in the forms of slide attention that sum over a head's taps or channels by a convolution grouped by head.

With one head that is one group, as layers of the model have; it is a slide convolution all the same.
"""
ACCEPTABLE = ("constant-images", "duplicate-images", "wrong-normalisation", "channel-order")
"""Errors of the calibration audit that a recipe may allow; random images are never fit."""
CHOICES: dict[str, tuple[Any, ...]] = {
    "library": ("onnxruntime", "nncf", "coremltools", "torchao", "ai_edge_quantizer"),
    "weights": ("linear", "palettized"),
    "weight_bits": (8, 6, 4),
    "activations": ("asymmetric", "symmetric", "dynamic", "float"),
    "ranges": ("minmax", "percentile", "entropy"),
    "reduce_range": ("auto", "on", "off"),
    "fan_out": ("integer", "weights"),
    "tables": ("half", "float"),
}
COMMENTS = {
    "library": "which library quantizes",
    "weights": "linear: one scale for each output channel; palettized: a table of values (coremltools alone)",
    "weight_bits": "linear: 8; palettized: 8, 6 or 4",
    "per_channel": "a scale for each output channel; false has one for a whole tensor",
    "activations": "asymmetric, symmetric, dynamic (a range for each input as it comes), or float (weights alone)",
    "ranges": "how an activation's range is observed: minmax, percentile or entropy",
    "percentile": "of the values that stay inside the range, for `ranges: percentile`",
    "reduce_range": "7-bit weights, for CPUs whose 8-bit products overflow (x86 without VNNI); auto asks this CPU",
    "quantize_bias": "biases as int32; TensorRT takes float ones alone",
    "smooth_quant": "0..1 moves outliers from activations into weights (nncf alone); null leaves them",
    "bias_correction": "let nncf correct biases for what quantization shifts",
    "quantize": "of linear, convolution, depthwise (the slide convolutions)",
    "fan_out": "a convolution whose result several operators read: in integers, or its weights alone in 8 bits",
    "tables": "how large constants that are only added are stored, position biases above all",
    "keep_fp32": "PyTorch modules that stay in float, with all that is in them; * and ? are wildcards",
    "unfit": "like keep_fp32, in models that have such modules: what the target computes wrongly in 8 bits",
    "min_sqnr_db": "refused below this signal to quantization noise, on the images of the parity check",
    "min_top1": "refused where this share of equal top classes can be ruled out",
    "accept": "findings of the calibration audit that do not stop the export",
}
EVERYWHERE = frozenset({"library", "activations", "quantize", "keep_fp32", "unfit", "min_sqnr_db", "min_top1"})
USED = {
    ("onnxruntime", INT8): {
        "per_channel",
        "ranges",
        "percentile",
        "reduce_range",
        "quantize_bias",
        "fan_out",
        "tables",
        "accept",
    },
    ("onnxruntime", INT8_DYNAMIC): {"per_channel", "reduce_range", "tables"},
    ("nncf", INT8): {
        *("per_channel", "ranges", "percentile", "reduce_range", "smooth_quant", "bias_correction", "tables", "accept")
    },
    ("nncf", W8): {"tables"},
    ("coremltools", W8): {"weights", "weight_bits", "per_channel"},
    ("torchao", INT8): {"per_channel", "accept"},
    ("torchao", INT8_DYNAMIC): {"per_channel"},
    ("ai_edge_quantizer", INT8): {"per_channel", "accept"},
    ("ai_edge_quantizer", INT8_DYNAMIC): {"per_channel"},
    ("ai_edge_quantizer", W8): {"per_channel"},
}
"""What each library reads beside `EVERYWHERE`, in the precisions that it is used for."""
LARGEST_NUMBER = 1e300  # what is beyond is no bound of anything
OF_GRAPHS = ("onnxruntime", "nncf")
"""Libraries that quantize an ONNX graph; the others quantize one target's own form."""


@dataclass(frozen=True)
class QuantizationRecipe:
    """One way to quantize a model; `COMMENTS` says what each field is, but for the last, which no file has.

    Attributes:
        cpu_overflows: whether the CPU that it is exported on needs a reduced range, for `reduce_range: auto`.
    """

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
    fan_out: str = "integer"
    tables: str = "float"
    keep_fp32: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    cpu_overflows: bool = False

    @property
    def precision(self) -> Precision:
        """The precision that it is a recipe of."""
        return {"float": W8, "dynamic": INT8_DYNAMIC}.get(self.activations, INT8)

    @property
    def used(self) -> frozenset[str]:
        """The fields that its library reads."""
        names = EVERYWHERE | USED.get((self.library, self.precision), set())
        unread = {"percentile": self.ranges != "percentile", "per_channel": self.weights == "palettized"}
        return names - {name for name, so in unread.items() if so}

    @property
    def reduced(self) -> bool:
        """Whether weights take 7 of the 8 bits."""
        if self.reduce_range == "auto":
            return self.precision.computes_integers and self.cpu_overflows
        return self.reduce_range == "on"

    @property
    def calibrated(self) -> bool:
        """Whether the ranges of activations have to be observed on images."""
        return self.precision.calibrated

    @property
    def dynamic(self) -> bool:
        """Whether each activation is quantized to its own range."""
        return self.activations == "dynamic"

    def quantizes(self, module: str, kind: str) -> bool:
        """Whether a layer of a kind of `KINDS` is quantized, by the name of its PyTorch module."""
        in_float = (*self.keep_fp32, *self.unfit)
        if not SUMS_OF_TAPS.isdisjoint(module.split(".")):
            kind = "depthwise"
        return kind in self.quantize and not any(matches(module, pattern) for pattern in in_float)

    def resolved(self) -> "QuantizationRecipe":
        """The recipe with what this machine's CPU needs."""
        return replace(self, cpu_overflows=overflows())


@lru_cache(maxsize=1 << 16)  # a search asks the same of every node again for each set of modules that it tries
def matches(module: str, pattern: str) -> bool:
    """Whether a pattern names a module or one around it: `layers.0` has `layers.0.blocks.1.attn.qkv` in it."""
    parts = module.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def overflows() -> bool:
    """Whether this CPU adds pairs of 8-bit products in 16 bits, as x86 does without VNNI (VPMADDUBSW).

    Source: ONNX Runtime, docs/performance/model-optimizations/quantization.md, "reduce_range".
    """
    import torch

    has = torch.cpu.get_capabilities()
    return has.get("architecture") == "x86_64" and not (has.get("avx512_vnni") or has.get("avx_vnni"))


def default(target: str, precision: str) -> QuantizationRecipe:
    """The recipe that a target's backend has in its folder for a quantized precision.

    Raises:
        RequestError: it has none.
    """
    found = _shipped(target)
    if precision not in found:
        own = f"it has recipes of {', '.join(found)}" if found else "it has no recipes"
        raise RequestError(
            f"a quantization recipe of {precision} does not come with {target}, {own}: give one (quantization_recipe)"
        )
    return parse(found[precision].read_text(encoding="utf-8"), f"{target}/{found[precision].name}")


def _shipped(target: str) -> dict[str, Path]:
    """Files of the recipes in a backend's folder by their precision; a backend of one file has no folder."""
    spec = importlib.util.find_spec(f"slide_export.backends.{target}")
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = {file.stem: file for folder in folders for file in Path(folder).glob("*.yaml")}
    return {name: files[name] for name in PRECISIONS if name in files}


def load(path: Path, precision: str) -> QuantizationRecipe:
    """Read a user's recipe.

    Raises:
        RequestError: the file cannot be read, is no recipe, or is one of another precision.
    """
    try:
        text = read_text(path)
    except RequestError as error:
        raise RequestError(f"expected a quantization recipe, {foreign(path, 300)} cannot be read: {error}") from error
    recipe = parse(text, path.name)
    if recipe.precision.name != precision:
        raise RequestError(
            f"expected a recipe of {precision}, {path.name} has activations: {recipe.activations}; "
            "int8 quantizes activations too, int8-dynamic each to its own range, w8 leaves them in float"
        )
    return recipe


def refuse_other_library(recipe: QuantizationRecipe, target: str, *, in_graph: bool) -> None:
    """Refuse a recipe whose library does not quantize for a target.

    Args:
        in_graph: whether the ONNX graph carries the recipe's precision for this target.

    Raises:
        RequestError: names those that do.
    """
    if in_graph:
        able = [name for name, precision in USED if precision == recipe.precision and name in OF_GRAPHS]
    elif recipe.precision.name in _shipped(target):  # a target that quantizes by itself has one library
        able = [default(target, recipe.precision.name).library]
    else:
        able = [name for name, precision in USED if precision == recipe.precision and name not in OF_GRAPHS]
    if recipe.library not in able:
        raise RequestError(
            f"expected library {' or '.join(able)} to quantize in {recipe.precision} for {target}, "
            f"found {recipe.library}: change it in the recipe"
        )


def parse(text: str, name: str) -> QuantizationRecipe:
    """Parse the recipe in a YAML text.

    Raises:
        RequestError: the text is no YAML mapping, a field is unknown or missing, a value does not fit its field, or a
            field says what its library does not do.
    """
    content = read_mapping(text, name)
    known = list(COMMENTS)
    for key in content:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f": did you mean {close[0]!r}?" if close else f"; the fields are {', '.join(known)}"
            raise RequestError(f"expected a field of a quantization recipe in {name}, found {quoted(key)}{hint}")
    values = {key: _value(name, key, value) for key, value in content.items()}
    try:
        recipe = QuantizationRecipe(**values)
    except TypeError as error:
        raise RequestError(f"expected every field of a recipe in {name}: {str(error).partition('() ')[2]}") from error
    _check(recipe, name)
    return recipe


def _value(name: str, key: str, value: Any) -> Any:
    """The value in its field's type."""
    kind = get_type_hints(QuantizationRecipe)[key]
    if key in CHOICES:
        if key == "reduce_range" and isinstance(value, bool):
            value = "on" if value else "off"  # as YAML 1.1 has it
        if any(value == choice and type(value) is type(choice) for choice in CHOICES[key]):
            return value
        raise RequestError(
            f"expected {key} in {name} to be one of {', '.join(map(str, CHOICES[key]))}; found {quoted(value)}"
        )
    if kind == tuple[str, ...]:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise RequestError(f"expected {key} in {name} to be a list of names, found {quoted(value)}")
    if kind is bool and isinstance(value, bool):
        return value
    if kind == float | None and value is None:
        return None
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER
    if kind in (float, float | None) and number:
        return float(value)
    raise RequestError(
        f"expected {key} in {name} to be {'true or false' if kind is bool else 'a finite number'}, found "
        f"{quoted(value)}"
    )


def _check(recipe: QuantizationRecipe, name: str) -> None:
    """Refuse what the library of the recipe does not do, and what nobody can."""
    if (recipe.library, recipe.precision) not in USED:
        able = [library for library, precision in USED if precision == recipe.precision]
        other = "quantizing activations needs CoreML's predict, so macOS; " if recipe.library == "coremltools" else ""
        raise RequestError(
            f"expected library {' or '.join(able)} where activations are {recipe.activations} ({recipe.precision}), "
            f"found {recipe.library} in {name}: {other}take another library or other activations"
        )
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        given = (field.name, value) != ("reduce_range", "off") and value != field.default  # "off" is what the others do
        if field.name not in recipe.used and given:
            raise RequestError(
                f"expected no {field.name} in {name}, which {recipe.library} does not read for such a recipe; "
                f"found {value!r}: leave it out"
            )
    wrong = [quoted(kind) for kind in recipe.quantize if kind not in KINDS]
    unknown = [quoted(name) for name in recipe.accept if name not in ACCEPTABLE]
    refusals = {
        f"findings of {', '.join(ACCEPTABLE)} in `accept`, found {unknown[0] if unknown else ''}": bool(unknown),
        f"kinds of {', '.join(KINDS)} in `quantize`, found {wrong[0] if wrong else ''}": bool(wrong),
        "a percentile over 50 and at most 100": not 50 < recipe.percentile <= 100,
        "smooth_quant within 0 and 1": recipe.smooth_quant is not None and not 0 <= recipe.smooth_quant <= 1,
        f"a min_sqnr_db of {recipe.precision.least_db:g} or more, below which {recipe.precision} holds no model": (
            recipe.min_sqnr_db < recipe.precision.least_db
        ),
        "min_top1 within 0 and 1": not 0 <= recipe.min_top1 <= 1,
        "8-bit weights, unless they are palettized": recipe.weights == "linear" and recipe.weight_bits != 8,
        "ranges minmax or percentile with library nncf": recipe.library == "nncf" and recipe.ranges == "entropy",
    }
    for expected, refused in refusals.items():
        if refused:
            raise RequestError(f"expected {expected} ({name})")


def dump(recipe: QuantizationRecipe, name: str, target: str) -> str:
    """Write what the recipe's library reads of it as YAML, each field under a comment that says what it is.

    Args:
        name: of the bundle.
        target: that it was quantized for.
    """
    images = " --images DIRECTORY" if recipe.calibrated else ""
    command = f"slide-export CHECKPOINT --target {target} --precision {recipe.precision} --quantization-recipe FILE"
    lines = [f"# {name}, {target} {recipe.precision}", f"# Edit it and pass it back: {command}{images}", ""]
    for key, value in asdict(recipe).items():
        if key in recipe.used:
            plain = list(value) if isinstance(value, tuple) else value
            lines += [f"# {COMMENTS[key]}", dump_field(key, plain)]
    return "\n".join(lines) + "\n"
