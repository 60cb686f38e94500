"""What fails or runs badly on ncnn alone: the facts, and the rules of a saved network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from slide_export.core.lint import Device, Finding, LintFact, Rule, judge

from . import network
from .modules import module_of
from .network import MAGIC, Layer
from .repair import EXPRESSION
from .runtime import MOST_DIMENSIONS

RANK = MOST_DIMENSIONS + 1  # of the module, which has the batch in front
SHAPES = "Tencent/ncnn 20261020 src/layer/reshape.cpp: the expression is read again at each call; measured 25 to 79 ms"
FACTS = (
    LintFact(
        "rank",
        "error",
        "merge axes until every tensor has rank 4 or less beside the batch: an ncnn::Mat has four axes",
        "Tencent/ncnn 20261020 src/mat.h",
        limit=RANK,
    ),
    LintFact(
        "dtype-bfloat16",
        "error",
        "convert the model to float32 (module.float()) before exporting",
        "Tencent/ncnn 20261020 tools/pnnx/src/save_ncnn.cpp writes float32 and float16 alone",
    ),
)


def is_artifact(path: Path) -> bool:
    """Whether a file is a network's text: by its ending and its first line."""
    if path.suffix != ".param" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC.encode()


def lint_artifact(path: Path) -> tuple[Finding, ...]:
    """Findings in a saved network.

    Raises:
        BundleError: it cannot be read.
    """
    return judge(RULES, network.read(path), ("ncnn",))


def unknown(layers: Iterable[Layer]) -> Iterator[Layer]:
    """Layers of types that the installed ncnn does not have: it refuses the network, and who does not look crashes."""
    import ncnn

    return (layer for layer in layers if ncnn.layer_to_index(layer.type) < 0)


def _unknown_layers(layers: Iterable[Layer]) -> Iterator[Device]:
    import ncnn

    for layer in unknown(layers):
        yield module_of(layer), f"the layer type {layer.type}, which ncnn {ncnn.__version__} does not have"


def _computed_shapes(layers: Iterable[Layer]) -> Iterator[Device]:
    for layer in layers:
        if layer.type == "Reshape" and EXPRESSION in layer.parameters:
            yield module_of(layer), f"a Reshape to {layer.parameters[EXPRESSION]}, computed at each call"


RULES: tuple[Rule[tuple[Layer, ...]], ...] = (
    Rule(
        "ncnn-unknown-layer",
        "error",
        ("ncnn",),
        _unknown_layers,
        "write the operation with others that pnnx converts; pnnx ends with 0 all the same",
        "Tencent/ncnn 20261020 src/layer_registry.h.in",
    ),
    Rule(
        "ncnn-computed-shape",
        "warning",
        ("ncnn",),
        _computed_shapes,
        "export with slide-export, which writes constant shapes, or give each Linear an input of rank 2 before pnnx",
        SHAPES,
    ),
)
