"""What an IR stores, and what a device computes in."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from slide_export.core.artifact import DtypeStats
from slide_export.core.errors import BundleError

from .runtime import compile_ir
from .settings import harmless_settings

HEAVY = frozenset({"Convolution", "GroupConvolution", "MatMul"})  # as the IR says it
EXECUTED = HEAVY | {"FullyConnected"}  # as a compiled model says it
DEQUANTIZING = frozenset({"Convert", "Subtract", "Multiply", "Reshape", "Transpose"})
"""Between 8-bit weights and the layer that takes them."""
NUMPY_NAMES = {"bf": "bfloat", "f": "float", "i": "int", "u": "uint"}


def dtype_stats(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Types of the IR's constants and, of each convolution and matrix product, of its activations.

    Raises:
        BundleError: the IR cannot be read.
        BackendUnavailable: the device is not here.
        LoweringError: the device cannot compile it.
    """
    return DtypeStats(_rename(_stored(path)), _in_force(path, settings), fixed=False, marked=_marked(path))


def computed_in(path: Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Types that heavy layers compute in with these settings, as `dtype_stats` names them; raises as it does."""
    return tuple(sorted(_in_force(path, settings)))


def _in_force(path: Path, settings: Mapping[str, Any]) -> dict[str, int]:
    """Number of heavy layers by the type that they compute in; no cache serves, for cached layers have no origins."""
    settings = harmless_settings(settings)
    first = next(iter(settings.get("static_batches", ())), None)
    return _integers(_rename(computed_types(*compile_ir(path, settings, first))))


def _marked(path: Path) -> int:
    """Number of heavy layers of an IR that take an 8-bit constant of more than one axis, converted to a float.

    Given    weight (i8) -> Convert -> Multiply -> Convolution, Convolution: a layer that is called twice
    Result   2
    """
    root = ElementTree.parse(path).getroot()
    layers = {layer.get("id"): layer for layer in root.iterfind("./layers/layer")}
    readers: dict[str | None, list[str | None]] = defaultdict(list)
    for edge in root.iterfind("./edges/edge"):
        readers[edge.get("from-layer")].append(edge.get("to-layer"))
    left = [key for key, layer in layers.items() if _is_quantized_weight(layer)]
    found = set()
    while left:
        for reader in readers[left.pop()]:
            if (kind := layers[reader].get("type")) in HEAVY:
                found.add(reader)
            elif kind in DEQUANTIZING:
                left.append(reader)
    return len(found)


def _is_quantized_weight(layer: ElementTree.Element) -> bool:
    data = layer.find("data")
    if layer.get("type") != "Const" or data is None or data.get("element_type") not in ("i8", "u8"):
        return False
    return sum(int(side) > 1 for side in (data.get("shape") or "0").split(",")) > 1


def _integers(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts with signed and unsigned 8-bit activations under one name: weights are signed with both."""
    merged: Counter[str] = Counter()
    for kind, number in counts.items():
        merged["int8" if kind in ("int8", "uint8") else kind] += number
    return dict(merged)


def _rename(counts: Mapping[str, int]) -> dict[str, int]:
    """The counts with NumPy's names for OpenVINO's types: float16 for f16."""
    return {
        re.sub(r"^(bf|f|i|u)(?=\d)", lambda short: NUMPY_NAMES[short[0]], kind): counts[kind] for kind in sorted(counts)
    }


def _stored(path: Path) -> dict[str, int]:
    """Bytes of `model.bin` by element type; constants that share their bytes count once."""
    try:
        constants = ElementTree.parse(path).iterfind("./layers/layer[@type='Const']/data")
    except (OSError, ElementTree.ParseError) as error:
        raise BundleError(f"expected an OpenVINO IR at {path}, it cannot be read: {error}") from error
    places = {(data.get("element_type", ""), data.get("offset"), int(data.get("size", 0))) for data in constants}
    stored: Counter[str] = Counter()
    for kind, _, size in places:
        stored[kind] += size
    return dict(stored)


def computed_types(model: Any, compiled: Any) -> dict[str, int]:
    """Number of heavy layers by the type of their first input, once the device has fused and converted.

    Empty where the device does not tell.

    The `runtimePrecision` that OpenVINO gives is not asked: it is the smallest type among the inputs, and says f16 of a
    float32 product whose weights are stored in float16 (Source: openvinotoolkit/openvino 759de8b,
    src/plugins/intel_cpu/src/utils/general_utils.h, getMaxPrecision).
    """
    heavy = {layer.get_friendly_name() for layer in model.get_ops() if layer.get_type_name() in HEAVY}
    try:
        executed = compiled.get_runtime_model().get_ordered_ops()
    except RuntimeError:
        return {}
    computed: Counter[str] = Counter()
    for layer in executed:
        info = layer.rt_info
        kind, origins = (info[key].astype(str) if key in info else "" for key in ("layerType", "originalLayersNames"))
        # A fused subgraph, such as window attention becomes, is none of the kinds but knows whom it replaces.
        count = 1 if kind in EXECUTED else len(heavy.intersection(origins.split(",")))
        if count:
            computed[layer.input(0).get_element_type().get_type_name()] += count
    return dict(computed)
