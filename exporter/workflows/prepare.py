"""SourceRequest -> Prepared: everything that is done once a checkpoint, whatever it is exported to."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import cycle, islice

from slide_export.backends import registry
from slide_export.calibration import samples
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import FedImages, PictureStore, cached
from slide_export.calibration.images import ImageSet, bundled, readable
from slide_export.calibration.parts import Scores
from slide_export.calibration.picture_audit import compared
from slide_export.calibration.quantization import NumericFormat
from slide_export.calibration.recipe import matches
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import Outputs
from slide_export.core.errors import RequestError, option
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import ASSUMED, BlockCertificate, FusedModel, Model
from slide_export.core.progress import Progress, no_progress
from slide_export.core.proof import Reference
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose, refuse_unfit
from slide_export.inference.fuse import certify, fuse
from slide_export.inference.served import ServedModel, first, serve
from slide_export.models import EXPORTED, LOADABLE, coupled, ships
from slide_export.proof import accuracy, floor, recorded, reference, soundness
from slide_export.tasks.features import stages_of

from .resolve import SourceRequest


class ModelInForm:
    """The model in one form and, once it is asked for, its ONNX graph."""

    def __init__(self, served: ServedModel, graph: OnnxGraph | None = None) -> None:
        self.served = served
        if graph is not None:
            self.graph = graph

    @cached_property
    def graph(self) -> OnnxGraph:
        """The checked graph, exported once.

        Raises:
            ExportError: see `graph.export`.
        """
        return onnx_graph.export(self.served, ships=ships(self.served.trained.family))

    @property
    def exported(self) -> bool:
        """Whether the graph is there already."""
        return "graph" in self.__dict__


@dataclass(frozen=True)
class Prepared:
    """One checkpoint, ready to be finished for any target and precision.

    Attributes:
        served: the trained model.
        fused: its inference form.
        certificate: proof of each fused convolution.
        truth: the trained model's outputs in float64 on the proof's images.
        images: of the request, those of the task.
        proof_images: a few of them, all of which can be decoded.
        evaluation: what accuracy is measured on; None where none is.
        store: the decoded pictures.
    """

    request: SourceRequest
    served: ServedModel
    fused: FusedModel
    certificate: tuple[BlockCertificate, ...]
    truth: Reference
    images: ImageSet
    proof_images: ImageSet
    evaluation: EvaluationSet | None
    store: PictureStore = field(repr=False)
    forms: dict[str, ModelInForm] = field(default_factory=dict, repr=False, compare=False)
    floors: dict[NumericFormat, Reference] = field(default_factory=dict, repr=False, compare=False)
    calibration: dict[ImageSet, FedImages] = field(default_factory=dict, repr=False, compare=False)
    scores: dict[str, Outputs] = field(default_factory=dict, repr=False, compare=False)

    def at_batch(self, batch: int | None) -> Prepared:
        """The same checkpoint for a target that takes no dynamic batch; itself where its batch is fixed already.

        Args:
            batch: the fixed size that the target is exported at; None leaves the batch dynamic.
        """
        if batch is None or self.request.io.batch is not None:
            return self
        io = replace(self.request.io, batch=batch)
        request, served = replace(self.request, io=io), replace(self.served, io=replace(self.served.io, batch=batch))
        return replace(self, request=request, served=served, forms={}, calibration={})

    def in_form(self, form: str, target: str) -> ModelInForm:
        """The model in a form, made once for each form that is asked for.

        Args:
            form: a name, one for each stage whose attention has forms, or "auto".
            target: decides what "auto" means.
        """
        auto, sampling = registry.default_form(target), registry.default_sampling(target)
        inference = choose(self.fused, form, auto=auto, sampling=sampling)
        return self.forms.setdefault(inference.form, ModelInForm(self.served.running(inference)))

    def fed(self, images: ImageSet) -> FedImages:
        """Calibration images as the graph is fed with them; what was observed on them is kept beside."""
        if images not in self.calibration:
            feed, batch = self.served.feeds, self.served.io.batch or 1
            self.calibration[images] = FedImages(cached(images, self.store), feed, batch)
        return self.calibration[images]

    def trained_scores(self) -> Scores:
        """Scores of pictures by the trained model, computed once for each chunk of pictures.

        Maps are not kept: those of a set would fill the memory.
        """
        return recorded.remembered(accuracy.of_pytorch(self.served), self.scores)

    def reference(self, numbers: NumericFormat) -> Reference:
        """The truth with the noise floor of a numeric format that holds the model.

        Raises:
            ParityError: it does not.
        """
        found = self.with_floor(numbers)
        floor.refuse_unheld(self.served, found, numbers)
        return found

    def holds(self, numbers: NumericFormat) -> bool:
        """Whether a numeric format holds the model; see `proof.floor`."""
        return floor.held(self.served, self.with_floor(numbers), numbers)

    def with_floor(self, numbers: NumericFormat) -> Reference:
        """The truth with the noise floor of a numeric format, computed once for each format."""
        if numbers not in self.floors:
            self.floors[numbers] = reference.with_floor(self.served, self.truth, numbers)
        return self.floors[numbers]


def prepare(request: SourceRequest, step: Progress = no_progress) -> Prepared:
    """Load a checkpoint, refuse what does not fit it, make its reference, fuse and certify it.

    Raises:
        CheckpointError: the file is no sound checkpoint of a known model, or its answers cannot be proved.
        RequestError: labels, modules, forms or task do not fit the model.
        CalibrationError: the images cannot be decoded, or are not fit for the model.
        FusionError: two convolution paths cannot become one.
    """
    with step("load the checkpoint"):
        model = _load(request)
        request = _with_told(request, model)
        request, model = _with_batch(request, model)
        served = serve(model, request.io, request.checkpoint.tasks or None)
        request = replace(request, io=served.io)
        _refuse_unfit(request, model)
    store = PictureStore(model.data, model.image_size, served.task.sample)
    images, told = samples.of_set(request.images, served.task)
    store.take(told)
    proof_images = _together(readable(images, request.image_count, store.load), served.coupled)
    evaluation = _evaluation(request, served, store, step)
    model = _with_notes(model, _audited(model, proof_images, evaluation, request.image_count, store))
    served = replace(served, trained=model)
    with step(f"run the trained model on {len(proof_images.files)} images in float64"):
        names, pictures = proof_images.names(), store.stacked(proof_images.files)
        truth = reference.truth(served, proof_images.source, names, pictures)
        soundness.refuse_unsound(served, truth)
    with step("fuse and certify"):
        fused = fuse(model)
        certificate = certify(fused, served.normalised(first(truth.feeds, served.coupled)))
    return Prepared(request, served, fused, certificate, truth, images, proof_images, evaluation, store)


def _load(request: SourceRequest) -> Model:
    asked = request.checkpoint
    families = asked.families or (LOADABLE if asked.comparison else EXPORTED)
    return load_checkpoint(
        asked.path,
        variant=asked.variant,
        weights=asked.weights,
        input_size=asked.input_size,
        families=families,
        weights_key=asked.weights_key,
        values=asked.values,
        preprocessing=asked.preprocessing,
        features=request.io.features,
    )


def _with_told(request: SourceRequest, model: Model) -> SourceRequest:
    """Take what stands beside the weights of the outputs: the stages that have maps, or the names of classes."""
    if request.io.features:
        return replace(request, io=replace(request.io, stages=stages_of(model.config)))
    if request.io.labels or not model.labels:
        return request
    return replace(request, io=replace(request.io, labels=model.labels))


def _with_batch(request: SourceRequest, model: Model) -> tuple[SourceRequest, Model]:
    """Fix the batch of a model whose images change each other's outputs: no dynamic one is right at every size.

    Raises:
        RequestError: the batch that is asked for leaves an image without those that it belongs to.
    """
    together, batch = coupled(model.module), request.io.batch
    if together == 1:
        return request, model
    if batch is None:
        said = f"assumed a fixed batch of {together}: each {together} images of a batch change each other's outputs"
        model = _with_notes(model, (said,))
        return replace(request, io=replace(request.io, batch=together)), model
    if batch % together:
        raise RequestError(
            f"expected {option('batch')} to be a multiple of {together}, found {batch}: each {together} images of a "
            f"batch change each other's outputs in {model.variant}"
        )
    return request, model


def _together(images: ImageSet, together: int) -> ImageSet:
    """As many images as the model takes at a time, or a multiple; a single one is repeated."""
    count = max(len(images.files) // together, 1) * together
    return replace(images, files=tuple(islice(cycle(images.files), count)))


def _refuse_unfit(request: SourceRequest, model: Model) -> None:
    """Refuse what the model's modules decide, before any of its arithmetic.

    Raises:
        RequestError: a module to keep does not exist, or there is not one form for each stage that has forms.
    """
    names = [name for name, _ in model.module.named_modules() if name]
    for pattern in request.keep_fp32:
        if not any(matches(name, pattern) for name in names):
            close = difflib.get_close_matches(pattern, names, n=1) or names[:1]
            raise RequestError(
                f"expected modules of the model in {option('keep_fp32')}, found {pattern!r}: one is {close[0]!r}"
            )
    refuse_unfit(model.module, request.form)


def _audited(
    model: Model, proof: ImageSet, evaluation: EvaluationSet | None, count: int, store: PictureStore
) -> tuple[str, ...]:
    """What the pictures of the user, decoded already, tell of mean and std; those of slide-export tell nothing."""
    given = proof
    if proof.root == bundled().root:
        if evaluation is None:
            return ()
        given = readable(evaluation.images, count, store.load)
    assumed = [one.name for one in model.provenance.preprocessing if one.source == ASSUMED]
    pictures = (picture for file in given.files for picture in store.load(file))
    return compared(pictures, model.data, assumed, given.source)


def _with_notes(model: Model, notes: tuple[str, ...]) -> Model:
    return replace(model, provenance=replace(model.provenance, notes=(*model.provenance.notes, *notes)))


def _evaluation(
    request: SourceRequest, served: ServedModel, store: PictureStore, step: Progress
) -> EvaluationSet | None:
    if request.accuracy is None:
        return None
    with step("try the trained model on some of the evaluation images"):
        return accuracy.open_images(request.accuracy, served, store)
