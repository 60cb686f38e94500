"""Quantization recipes with one fault each: read as they are written, or refused in one line."""

from __future__ import annotations

import random
from dataclasses import asdict
from pathlib import Path

from slide_export.calibration.recipe import COMMENTS, QuantizationRecipe, dump, load, parse
from slide_export.core.errors import SlideExportError
from slide_export.core.precision import INT8

from .images import damaged
from .outcome import Outcome

NAME, CASES = "recipes", 5000
SOUND = {
    "library": "onnxruntime",
    "activations": "asymmetric",
    "ranges": "percentile",
    "percentile": "99.9",
    "quantize": "[linear, convolution]",
    "keep_fp32": '[head, "layers.0.*"]',
    "min_sqnr_db": "20",
    "min_top1": "0.9",
    "accept": "[channel-order]",
}
VALUES = (
    *("", "null", "~", "true", "yes", "on", "0", "-1", "1", "0.5", "99.95", "1e400", "-1e308", ".nan", ".inf", "0x"),
    *("9" * 5000, "9" * 400, "!!int x", "!!bool x", "!!float x", "!!timestamp x", "2001-99-99", "12:30:45", "0b_"),
    *("!!binary 'a'", "[", "]", "{", "}", "[" * 3000, "{a: " * 500, "&a [1]", "*a", "<<", "? x", "- x", "|", ">"),
    *("!!python/object/apply:os.system [touch ran]", "!!python/name:os.system", "!local x", "'", "\x1b[2J"),
    *('"\\e[2J"', '"\\0"', "%YAML 3.0", "---", "...", "x" * 100_000, "[1, 2]", "[[a]]", "{a: b}", "[null]"),
    *("nncf", "coremltools", "entropy", "head", "[softmax]", "\ud800", "\u202e", "é" * 90, "@team", "`x`"),
    *("a: b: c", "# x", "1_000", "0o17", "1:30", "=", "!!set {a}", "!!omap [a: 1]"),
)


def run(seed: int, index: int, room: Path) -> Outcome:
    """One recipe with a fault."""
    chance = random.Random(f"{seed}:{index}")
    content, sound = _faulty(chance)
    path = room / "recipe.yaml"
    path.write_bytes(content)
    try:
        recipe = load(path, INT8.name)
    except SlideExportError as error:
        said = str(error)
        if sound:
            return Outcome("silent", f"a sound recipe is refused: {said[:300]}")
        clear = said.isprintable() and len(said) < 2000
        return Outcome("refused") if clear else Outcome("message", f"{said[:300]!r}")
    return _same(recipe)


def _same(recipe: QuantizationRecipe) -> Outcome:
    """Whether the recipe that a bundle would ship is the one that was read."""
    again = parse(dump(recipe, "name", "onnx"), "again")
    if asdict(again) != asdict(recipe):
        return Outcome("silent", f"{asdict(recipe)} is written as {asdict(again)}")
    return Outcome("fine")


def _faulty(chance: random.Random) -> tuple[bytes, bool]:
    fields, kind = dict(SOUND), chance.choice(("value", "value", "value", "field", "order", "bytes", "whole"))
    if kind == "value":
        fields[chance.choice(list(COMMENTS))] = chance.choice(VALUES)
    elif kind == "field":
        fields[chance.choice(VALUES)] = chance.choice(VALUES)
    elif kind == "whole":
        return chance.choice(VALUES).encode("utf-8", "surrogatepass"), False
    elif kind == "order":
        fields = dict(chance.sample(list(fields.items()), len(fields)))
    text = "".join(f"{name}: {value}\n" for name, value in fields.items())
    encoded = text.encode(chance.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")
    return (damaged(encoded, chance) if kind == "bytes" else encoded), kind == "order"
