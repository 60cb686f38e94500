"""CoreML ML Programs: predicted by CoreML on macOS, elsewhere evaluated from the saved package.

Inputs and outputs are float32 in both precisions. From iOS 16 on CoreML has float16 arrays too, which spare a cast on
each side, but few callers have float16 at hand. The Neural Engine computes in float16 only; it may run every one of an
enumerated set of shapes, but not always with LayerNorm (apple/coremltools issue 1909): a fixed batch is safer there.
"""

import json
import math
import platform
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.backends.interface import LoweringOptions, Option, Value
from slide_export.benchmark.profile import WARM, lines
from slide_export.core.artifact import Array, Artifact, DtypeStats, Feeds, Outputs
from slide_export.core.errors import BundleError, LoweringError, RequestError
from slide_export.core.graph import TensorSpec
from slide_export.core.measurement import Executed, ModuleTime
from slide_export.core.proof import BATCH_SIZES
from slide_export.inference.served import ServedModel

if TYPE_CHECKING:
    from torch import nn

    from slide_export.mil import Feature, Package
    from slide_export.mil.convert import Form
    from slide_export.mil.program import MilType, Operation

ACCEPTS = ServedModel
PRECISIONS = ("fp32", "fp16", "w8")
IN_GRAPH = frozenset[str]()
DISTRIBUTIONS = ("coremltools",)
OPTIONS: Mapping[str, Option] = {
    "deployment": Option("iOS16", "oldest system that has to run it", ("iOS16", "iOS17", "iOS18", "iOS26")),
    "input": Option("tensor", "an array, or a picture (RGB, one at a time)", ("tensor", "image")),
    "batches": Option(",".join(map(str, BATCH_SIZES)), "the batch sizes that a dynamic batch stands for"),
    "compute_units": Option("all", "what CoreML may use on macOS", ("all", "cpu_only", "cpu_and_gpu", "cpu_and_ne")),
}
RUNTIME = ("torch", "coremltools", "slide_export.mil")
DEVICE = tuple[str, ...]()  # deploy_examples/06_coreml_swift measures on one
HIGHEST_RANK = 5  # coremltools and the Neural Engine take no more
SLIDE_RANK = 4  # what our forms of slide attention promise
HEAVY = frozenset({"conv", "conv_transpose", "linear", "matmul", "scaled_dot_product_attention"})


def obstacle() -> str | None:
    """Returns None: where CoreML is not, the evaluator runs."""
    return None


def stand_in() -> str | None:
    """Returns what the evaluator's time is worth, None on macOS."""
    if sys.platform == "darwin":
        return None
    return "slide-export's own evaluator in CoreML's place, on this CPU: its time says nothing of an Apple device"


def lower(source: ServedModel, directory: Path, order: LoweringOptions) -> Artifact:
    """Writes `model.mlpackage`: the same bytes for the same model.

    Raises:
        RequestError: the options contradict each other.
        LoweringError: coremltools cannot convert the model, or the program breaks a rule of the Neural Engine.
    """
    from slide_export.mil import MilError, Package
    from slide_export.mil.convert import no_progress, save

    path = directory / "model.mlpackage"
    form = _form(source, order)
    try:
        modules = save(_entrance(source, order, form), path, form, _metadata(source, order), order.quantization)
        with no_progress():
            package = Package.read(path)
    except MilError as error:
        raise LoweringError(f"expected a model that CoreML can express: {error}") from error
    _check(package, modules, source)
    inputs, outputs = (_input(form, order),), _outputs(package, form, order)
    return Artifact("coreml", order.precision, path, inputs, outputs, _settings(form, order))


def _settings(form: "Form", order: LoweringOptions) -> dict[str, Any]:
    """Returns what a session is started with: how to predict, how to evaluate, and what it is fed."""
    return {
        "compute_units": order.options["compute_units"].upper(),
        "mode": "float32" if order.precision == "fp32" else "typed",
        "bytes": order.interface.embed_preprocessing,  # whether the feeds may be uint8
        "labels": list(form.labels),  # of a classifier, in the order of the head's outputs
    }


def _form(source: ServedModel, order: LoweringOptions) -> "Form":
    """Returns what the package is to look like.

    Raises:
        RequestError: image input without embedded preprocessing or for a batch, a classifier with equal labels.
    """
    from slide_export.mil.convert import Form

    interface, image = order.interface, order.options["input"] == "image"
    rows, cols = source.trained.image_size
    if image and not interface.embed_preprocessing:
        raise RequestError("expected input=image with embedded preprocessing: a picture is 0..255, not normalised")
    if image and interface.batch not in (None, 1):
        raise RequestError(
            f"expected input=image with batch 1 or none, found {interface.batch}: a picture is one image"
        )
    batches = (1,) if image else (interface.batch,) if interface.batch else _batches(order.options["batches"])
    channels_last = interface.embed_preprocessing and not image
    # CoreML's classifiers answer for one image with a dictionary, so only one-image packages can be one.
    labels = interface.labels if image and interface.softmax else ()
    repeated = [label for label, count in Counter(labels).items() if count > 1]
    if repeated:
        raise RequestError(f"expected a label of its own for each class of a classifier, found {repeated[0]!r} twice")
    return Form(
        input=source.input_names[0],
        shape=(rows, cols, 3) if channels_last else (3, rows, cols),
        batches=batches,
        image=image,
        outputs=source.output_names,
        labels=labels,
        precision="fp32" if order.precision == "fp32" else "fp16",  # w8: what the Neural Engine computes in
        deployment=order.options["deployment"],
    )


def _batches(text: str) -> tuple[int, ...]:
    """Returns batch sizes in ascending order.

    Raises:
        RequestError: the text is no list of them, or 1 is not among them.
    """
    sizes = {int(part) for part in text.split(",")} if re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text) else set()
    if 1 not in sizes:  # any number of images can then be cut into permitted batches
        raise RequestError(f"expected batches such as 1,2,3,8, with 1 among them; found {text!r}")
    return tuple(sorted(sizes))


def _entrance(source: ServedModel, order: LoweringOptions, form: "Form") -> "nn.Module":
    """Returns the module to trace; a picture comes as [1, 3, H, W] of 0..255, which `Serving` takes as [1, H, W, 3].

    The normalisation is the module's own: an `ImageType` has one scale for three channels.
    """
    from torch import Tensor

    from slide_export.inference.export_wrapper import ExportWrapper

    class Picture(ExportWrapper):
        def forward(self, *images: Tensor) -> tuple[Tensor, ...]:
            return super().forward(*(image.permute(0, 2, 3, 1) for image in images))

    return (Picture if form.image else ExportWrapper)(source.module, source.trained.data, source.io, source.task).eval()


def _metadata(source: ServedModel, order: LoweringOptions) -> dict[str, str]:
    """Returns what a user of the bare package needs; nothing that changes from run to run."""
    model, interface = source.trained, order.interface
    metadata = {
        "description": f"{model.variant} ({source.form}, {order.precision}), exported from PyTorch",
        "variant": model.variant,
        "lowering": source.form,
        "mean": json.dumps(model.data.mean),
        "std": json.dumps(model.data.std),
        "preprocessing": "embedded" if interface.embed_preprocessing else "caller",
    }
    return metadata | ({"labels": json.dumps(interface.labels)} if interface.labels else {})


def _check(package: "Package", modules: Mapping[str, str], source: ServedModel) -> None:
    """Checks the saved program: no gather, rank 5 at most, 4 in slide attention.

    Raises:
        LoweringError: names the first operation that breaks a rule.
    """
    from slide_export.models.slide_attention import SlideAttention

    named = source.trained.module.named_modules()
    slides = tuple(f"{name}." for name, module in named if isinstance(module, SlideAttention))
    for operation in package.operations():
        module = modules.get(operation.name, "")
        limit = SLIDE_RANK if f"{module}.".startswith(slides) else HIGHEST_RANK
        rank = max((len(output.type.shape) for output in operation.outputs), default=0)
        if operation.type.startswith("gather"):
            raise LoweringError(
                f"expected a program without gathers, found {operation} in {module}: use slices instead"
            )
        if rank > limit:
            raise LoweringError(
                f"expected tensors of rank {limit} or less, {operation} in {module} makes one of {rank}"
            )


def _input(form: "Form", order: LoweringOptions) -> TensorSpec:
    """Returns what `Session` is fed: a picture as uint8 [B, H, W, 3], else the package's own input."""
    batch = order.interface.batch or "batch"
    if form.image:
        return TensorSpec(form.input, "uint8", (batch, *form.shape[1:], 3))
    return TensorSpec(form.input, "float32", (batch, *form.shape))


def _outputs(package: "Package", form: "Form", order: LoweringOptions) -> tuple[TensorSpec, ...]:
    types = {output.name: output.type for operation in package.operations() for output in operation.outputs}
    shapes = {name: (1, len(form.labels)) if form.labels else types[name].shape for name in form.outputs}
    batch = order.interface.batch or "batch"
    return tuple(
        TensorSpec(name, "float32", (batch, *(size or "" for size in shape[1:]))) for name, shape in shapes.items()
    )


def census(path: Path, settings: Mapping[str, Any]) -> DtypeStats:
    """Returns the types of the stored weights and, of each convolution and matrix product, of its result.

    Raises:
        BundleError: the package cannot be read.
    """
    package = _read(path)
    heavy = [operation for operation in package.operations() if operation.type in HEAVY]
    computed = Counter(_numpy_name(operation.outputs[0].type.element) for operation in heavy)
    return DtypeStats(_stored(package), dict(computed), marked=_compressed(package, heavy))


def _compressed(package: "Package", heavy: "list[Operation]") -> int:
    """Returns how many of the operations have a weight that a `constexpr_*` operation decompresses."""
    from slide_export.mil.program import Reference

    packed = {output.name for op in package.operations() if op.type.startswith("constexpr_") for output in op.outputs}
    fed = (
        {value.name for _, values in op.bindings() for value in values if isinstance(value, Reference)} for op in heavy
    )
    return sum(bool(packed & names) for names in fed)


def _stored(package: "Package") -> dict[str, int]:
    """Returns the bytes of the weight file's entries, once each, and of the floats in the program itself."""
    from slide_export.mil.program import FLOAT_TYPES, Literal

    places: dict[tuple[str, int, str], Literal] = {}
    for operation in package.operations():
        for name, bindings in operation.bindings():
            for index, value in enumerate(bindings):
                if isinstance(value, Literal) and (value.file or value.type.element in FLOAT_TYPES):
                    where = (value.file, value.offset, "" if value.file else f"{operation.name} {name} {index}")
                    places[where] = value
    stored: Counter[str] = Counter()
    for value in places.values():
        stored[_numpy_name(value.type.element)] += _bytes(value.type)
    return dict(stored)


def _numpy_name(element: str) -> str:
    return element.replace("fp", "float")


def _bytes(kind: "MilType") -> int:
    bits = re.search(r"\d+", kind.element)  # bool has none, and takes a byte
    return -(-math.prod(size or 0 for size in kind.shape) * int(bits[0] if bits else 8) // 8)


def _read(path: Path) -> "Package":
    from slide_export.mil import MilError, Package
    from slide_export.mil.convert import no_progress

    try:
        with no_progress():  # the first import of coremltools logs what it lacks
            return Package.read(path)
    except MilError as error:
        raise BundleError(f"expected an ML Program at {path}: {error}") from error


def profile(path: Path, settings: Mapping[str, Any], feeds: Feeds, calls: int) -> tuple[ModuleTime, ...]:
    """Returns the times of our evaluator, operation by operation.

    Raises:
        RequestError: on macOS, where CoreML tells coremltools no times.
        BundleError: the package cannot be run.
    """
    if stand_in() is None:
        raise RequestError(f"expected no --profile for {path} on macOS: Xcode's Core ML instrument shows its times")
    from slide_export.mil import Evaluator, MilError, timing
    from slide_export.mil.module_names import module_names

    package = _read(path)
    (entry,) = package.inputs
    images, times = feeds[entry.name], defaultdict[str, list[float]](list)
    try:
        evaluator = Evaluator(package, settings["mode"])
        for _ in range(WARM + calls):
            spent: Counter[str] = Counter()
            for start, end in _pieces(len(images), _sizes(entry)):
                spent.update(timing.spent_ms(evaluator, {entry.name: _fed(entry, images[start:end])}))
            for result, ms in spent.items():
                times[result].append(ms)
    except MilError as error:
        raise BundleError(f"expected a package that runs here: {error}") from error
    modules, products = module_names(package.operations()), timing.products(package)
    types = {operation.outputs[0].name: operation.type for operation in package.operations() if operation.outputs}
    return lines(
        [
            Executed(modules[result] or None, types[result], products[result], tuple(ms[WARM:]))
            for result, ms in times.items()
        ]
    )


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Returns every value of the program that depends on an input, in the order of execution.

    The package says which module each operation is; one that says nothing is read by the names of its weights.

    Raises:
        BundleError: the package cannot be read.
    """
    from slide_export.mil.module_names import module_names, references

    package = _read(path)
    computing = [operation for operation in package.operations() if not operation.is_constant]
    modules = package.modules() or module_names(computing)
    live = set(package.program.inputs)
    found = []
    for operation in computing:
        takes = tuple(name for name in references(operation) if name in live)
        names = [output.name for output in operation.outputs]
        if takes:
            live.update(names)
            scope = modules.get(operation.name, modules.get(names[0]))
            found += [Value(name, scope, takes) for name in names]
    return tuple(found)


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> "Watched":
    """Returns a session of our evaluator that gives these values: CoreML itself shows none.

    Raises:
        BundleError: the package cannot be evaluated.
    """
    return Watched(path, settings, names)


class Watched:
    """The values inside a package, by our evaluator."""

    def __init__(self, path: Path, settings: Mapping[str, Any], names: Sequence[str] = ()) -> None:
        from slide_export.mil import Evaluator, MilError

        package = _read(path)
        (self._input,) = package.inputs
        self._names = names
        try:
            self._evaluator = Evaluator(package, settings["mode"])
        except MilError as error:
            raise BundleError(f"expected a package that can be evaluated: {error}") from error
        self.evaluator = f"evaluated on {platform.system()} ({settings['mode']})"

    def run(self, feeds: Feeds) -> Outputs:
        """Returns the values for one batch that the package permits.

        Raises:
            BundleError: the package cannot be evaluated.
        """
        from slide_export.mil import MilError

        images = feeds[self._input.name]
        fed = images[0] if self._input.kind == "image" else images.astype(np.float32)
        try:
            results = self._evaluator.run({self._input.name: fed}, watch=self._names)
        except MilError as error:
            raise BundleError(f"expected a package that takes what it declares: {error}") from error
        return {name: results[name] for name in self._names}


class Session:
    """A package under CoreML on macOS, which this was never run on, and under our evaluator elsewhere."""

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        from slide_export.mil import MilError
        from slide_export.mil.engine import start

        package = _read(path)
        (self._input,) = package.inputs
        self._outputs = [output.name for output in package.outputs if output.kind != "scalar"]  # a label is one
        self._dtypes = ("uint8", "float32") if settings["bytes"] else ("float32",)
        try:
            self._engine = start(package, settings["mode"], settings["compute_units"], settings["labels"])
        except MilError as error:
            raise BundleError(f"expected a package that runs here: {error}") from error
        self.evaluator = self._engine.name

    def run(self, feeds: Feeds) -> Outputs:
        """Returns every output by name for the inputs by name, float32, for any number of images.

        Images go through in the batch sizes that the package permits; pictures go one by one.

        Raises:
            RequestError: the feeds are not the input, or the permitted batch sizes do not add up to theirs.
            BundleError: the package cannot be run.
        """
        found = {name: str(value.dtype) for name, value in feeds.items()}
        if set(found) != {self._input.name} or found[self._input.name] not in self._dtypes:
            raise RequestError(f"expected the input {self._input.name} of {' or '.join(self._dtypes)}, found {found}")
        images = feeds[self._input.name]
        parts = [self._run(images[start:end]) for start, end in _pieces(len(images), _sizes(self._input))]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def _run(self, images: Array) -> Outputs:
        """Returns the outputs for a permitted batch, [B, ...] each."""
        from slide_export.mil import MilError

        try:
            results = self._engine.run(self._input.name, _fed(self._input, images))
        except MilError as error:
            raise BundleError(f"expected a package that takes what it declares: {error}") from error
        arrays = {name: np.asarray(results[name], np.float32) for name in self._outputs}
        return {name: value[None] if value.ndim == 1 else value for name, value in arrays.items()}  # a classifier's


def _sizes(entry: "Feature") -> list[int]:
    """Returns the batch sizes that an input permits, the largest first."""
    return sorted({shape[0] for shape in entry.choices or (entry.shape,)}, reverse=True)


def _fed(entry: "Feature", images: Array) -> Array:
    """Returns what the package takes for a permitted batch: one picture, or an array of float32."""
    return images[0] if entry.kind == "image" else images.astype(np.float32)


def _pieces(count: int, sizes: list[int]) -> Iterator[tuple[int, int]]:
    """Yields start and end of each batch, the largest first.

    Raises:
        RequestError: the sizes do not add up to the count.
    """
    start = 0
    while start < count:
        size = next((size for size in sizes if size <= count - start), None)
        if size is None:
            raise RequestError(f"expected a batch of {' or '.join(map(str, sizes))}, found {count} images")
        yield start, start + size
        start += size
