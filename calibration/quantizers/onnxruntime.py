"""ONNX Runtime's quantization: Q/DQ pairs or, for activations as they come, DynamicQuantizeLinear and MatMulInteger.

The results of matrix products stay in float: ONNX Runtime fuses those too (QGemm, MatMulIntegerToFloat), and they go
into additions, GELU and attention, which are float. A convolution fuses only with its result quantized. Where several
operators read that, as nine taps read each query, key and value, ONNX Runtime gives each a DequantizeLinear and a
change of layout of its own: Slide-Swin-T takes 0.82 of the float model's time so, and 0.68 where such convolutions
compute in float, with weights alone in 8 bits (`fan_out: weights`).
"""

import hashlib
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, MutableMapping
from pathlib import Path

import numpy as np
import onnx

from slide_export.calibration.image_cache import FedImages
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.artifact import Array, Feeds

from . import Images

LEVELS = 127
"""Of int8 on each side of 0; -128 is not used."""
CHUNK_IMAGES = {"minmax": 50}
"""Images whose observations are in memory at a time, by how ranges are chosen; the chunks' ranges are merged.

Smallest and largest values are two numbers a tensor: merging them image by image takes three times as long as running
the model. Histograms need an image's whole activations, so for all else it is one.
"""


def quantize(
    proto: onnx.ModelProto, nodes: list[str], images: Images | None, recipe: QuantizationRecipe
) -> onnx.ModelProto:
    """See `Quantizer`."""
    from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

    if recipe.dynamic:
        return _as_they_come(proto, nodes, recipe)
    if recipe.fan_out == "weights":
        several = _read_by_several(proto)
        _store_in_8_bits(proto, [name for name in nodes if name in several])
        nodes = [name for name in nodes if name not in several]
    signed = recipe.activations == "symmetric"
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "float.onnx", Path(temporary) / "quantized.onnx"
        _preprocessed(proto)
        onnx.save(proto, source)  # handed over as a file: a model in memory is turned into external data in place
        kinds = sorted({node.op_type for node in proto.graph.node if node.name in set(nodes)})
        chunk = CHUNK_IMAGES.get(recipe.ranges, 1)
        ranges = _Ranges(images.ranges if isinstance(images, FedImages) else {}, source, recipe, kinds)
        quantize_static(
            source,
            target,
            _Reader(images or (), chunk),
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduced,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=nodes,
            op_types_to_quantize=kinds,
            calibrate_method=CalibrationMethod[{"minmax": "MinMax"}.get(recipe.ranges, recipe.ranges.capitalize())],
            extra_options={
                "ActivationSymmetric": signed,
                "QuantizeBias": recipe.quantize_bias,
                "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
                "CalibStridedMinMax": chunk,
                "CalibPercentile": recipe.percentile,
            },
            calibration_cache_path=ranges.restored(Path(temporary) / "ranges.json"),
        )
        ranges.remember(Path(temporary) / "ranges.json")
        return onnx.load(target)


def _as_they_come(proto: onnx.ModelProto, nodes: list[str], recipe: QuantizationRecipe) -> onnx.ModelProto:
    """Weights in int8 and the inputs of matrix products quantized when they come; convolutions compute in float."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kinds = {node.name: node.op_type for node in proto.graph.node}
    _store_in_8_bits(proto, [name for name in nodes if kinds[name] == "Conv"])  # their integer kernel is slower
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "float.onnx", Path(temporary) / "quantized.onnx"
        _preprocessed(proto)
        onnx.save(proto, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            per_channel=recipe.per_channel,
            reduce_range=recipe.reduced,
            weight_type=QuantType.QInt8,
            nodes_to_quantize=[*nodes, *(f"{name}_MatMul" for name in nodes)],  # a Gemm is renamed so
            extra_options={"MatMulConstBOnly": True},
        )
        return onnx.load(target)


def _read_by_several(proto: onnx.ModelProto) -> set[str]:
    """Names of the convolutions whose result more than one node reads."""
    readers = Counter(name for node in proto.graph.node for name in node.input)
    return {node.name for node in proto.graph.node if node.op_type == "Conv" and readers[node.output[0]] > 1}


def _store_in_8_bits(proto: onnx.ModelProto, nodes: Collection[str]) -> None:
    """Store the weights of convolutions as integers with a scale for each output channel, in place.

    ONNX Runtime leaves a DequantizeLinear of constants to every run and can then lay no such weight out in blocks; a
    Cast and a Mul are folded when the file is loaded.

        Given    Conv(x, w)
        Result   Conv(x, Mul(Cast(w_quantized), w_scale))
    """
    from onnx import TensorProto, helper, numpy_helper

    chosen = [node for node in proto.graph.node if node.name in set(nodes)]
    names = {node.input[1] for node in chosen}
    added, made = [], list[onnx.NodeProto]()
    for tensor in proto.graph.initializer:
        if tensor.name not in names:
            continue
        values = numpy_helper.to_array(tensor)
        scale = np.abs(values).max(axis=tuple(range(1, values.ndim)), keepdims=True) / LEVELS
        scale = np.maximum(scale, np.finfo(np.float32).tiny).astype(np.float32)  # of a channel of zeros
        integers, floats, steps = (f"{tensor.name}_{part}" for part in ("quantized", "quantized_float", "scale"))
        added.append(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), integers))
        added.append(numpy_helper.from_array(scale, steps))
        module = next(node.name for node in chosen if node.input[1] == tensor.name)
        made.append(helper.make_node("Cast", [integers], [floats], f"{module}_weight_Cast", to=TensorProto.FLOAT))
        made.append(helper.make_node("Mul", [floats, steps], [f"{tensor.name}_8_bits"], f"{module}_weight_Mul"))
    for node in chosen:
        node.input[1] = f"{node.input[1]}_8_bits"
    read = {name for node in proto.graph.node for name in node.input}
    kept = [one for one in proto.graph.initializer if one.name not in names or one.name in read]
    others = list(proto.graph.node)
    del proto.graph.initializer[:], proto.graph.node[:]
    proto.graph.initializer.extend([*kept, *added])
    proto.graph.node.extend([*made, *others])


class _Ranges:
    """Ranges observed before on the same graph and images, which `quantize_static` takes as a file.

    They are those of every node of the kinds that are quantized, whichever nodes are kept in float: a search that keeps
    one module after another, and the artifact that it ends in, observe once.
    """

    def __init__(
        self, known: MutableMapping[str, bytes], graph: Path, recipe: QuantizationRecipe, kinds: list[str]
    ) -> None:
        decided_by = (
            graph.read_bytes(),
            recipe.ranges.encode(),
            repr(recipe.percentile).encode(),
            *map(str.encode, kinds),
        )
        self._known = known
        self._key = hashlib.sha256(b"\0".join(decided_by)).hexdigest()

    def restored(self, path: Path) -> Path:
        """The file for ranges, written where they are known."""
        if self._key in self._known:
            path.write_bytes(self._known[self._key])
        return path

    def remember(self, path: Path) -> None:
        """Keep what was observed."""
        self._known[self._key] = path.read_bytes()


def _preprocessed(proto: onnx.ModelProto) -> None:
    """Say what is true of our graphs, simplified and with shapes inferred: else a warning advises to do so."""
    if not any(entry.key == "onnx.quant.pre_process" for entry in proto.metadata_props):
        proto.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")


class _Reader:
    """What `quantize_static` reads: feeds, in ranges of `chunk`."""

    def __init__(self, images: Images, chunk: int) -> None:
        self._chunks, self._chunk, self._left = -(-len(images) // chunk), chunk, 0
        self._feeds: Iterator[Feeds] = iter(images)

    def __len__(self) -> int:
        """Images, rounded up to whole chunks: a length that chunks do not divide is refused."""
        return self._chunks * self._chunk

    def set_range(self, start_index: int, end_index: int) -> None:
        """Allow as many feeds more; ranges come in order."""
        self._left = end_index - start_index

    def get_next(self) -> dict[str, Array] | None:
        """The next feed of the range, None at its end or the last image's."""
        if self._left == 0:
            return None
        self._left -= 1
        feeds = next(self._feeds, None)
        return None if feeds is None else dict(feeds)
