"""ONNX Runtime's static quantization: Q/DQ pairs, weights in int8 with a scale for each output channel.

The results of matrix products stay in float: ONNX Runtime fuses those too (QGemm, MatMulIntegerToFloat), and they go
into additions, GELU and attention, which are float. A convolution fuses only with its result quantized.
"""

import hashlib
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import onnx

from slide_export.calibration.image_cache import FedImages
from slide_export.calibration.recipe import QuantizationRecipe
from slide_export.core.artifact import Array, Feeds

from . import Images

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
