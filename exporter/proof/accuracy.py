"""The accuracy gate on a model and its artifact: which images, what each of the two is fed, what the verdict says."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slide_export.backends.interface import Session
from slide_export.calibration import accuracy
from slide_export.calibration import evaluation_set as labelled
from slide_export.calibration.accuracy import AccuracyGoal, AccuracyReport, Scores
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.preprocess import normalise
from slide_export.core.artifact import Array, ModelIO, Outputs
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.core.proof import BATCH_SIZES
from slide_export.inference.serve import ExportWrapper


def open_images(goal: AccuracyGoal, model: Model, interface: ModelIO) -> EvaluationSet:
    """Returns the images of a goal, after the trained model itself was tried on some of them.

    Stage maps are no scores of classes, so for them the images have none.

    Raises:
        CalibrationError: the images or their classes are not fit for this model.
        RequestError: the goal limits a drop of top-1 where the outputs are no scores.
    """
    if interface.features and goal.max_drop is not None:
        raise RequestError("expected --min-sqnr with --features, found --max-drop: stage maps have no top-1 to lose")
    data = labelled.load(goal.images, interface.labels, model.config.num_classes)
    if interface.features:
        return EvaluationSet(data.images)
    accuracy.preview(of_pytorch(model, interface), data, model.data, model.image_size)
    return data


def evaluate(
    model: Model, session: Session, data: EvaluationSet, goal: AccuracyGoal, interface: ModelIO
) -> AccuracyReport:
    """Returns what the artifact loses to the trained model on every image.

    Raises:
        CalibrationError: too many images cannot be decoded, or the classes are not the model's.
    """
    return accuracy.compare(
        of_pytorch(model, interface),
        of_session(session, model, interface),
        data,
        model.data,
        model.image_size,
        goal,
        session.evaluator,
    )


def of_pytorch(model: Model, interface: ModelIO) -> Scores:
    """Returns what scores pictures with the trained model in float32."""
    serving = ExportWrapper(model.module, model.data, interface).eval()

    def scores(pictures: NDArray[np.uint8]) -> Outputs:
        with torch.inference_mode():
            outputs = serving(torch.from_numpy(_fed(pictures, model, interface)))
        return dict(zip(interface.output_names, (output.numpy() for output in outputs), strict=True))

    return scores


def of_session(session: Session, model: Model, interface: ModelIO) -> Scores:
    """Returns what scores pictures with an artifact, in batches that it takes."""
    size = interface.batch or BATCH_SIZES[-1]

    def scores(pictures: NDArray[np.uint8]) -> Outputs:
        fed = _fed(pictures, model, interface)
        parts = [_run(session, fed[start : start + size], interface) for start in range(0, len(fed), size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in interface.output_names}

    return scores


def _run(session: Session, fed: Array, interface: ModelIO) -> Outputs:
    """Returns the outputs of a batch; one too small for a fixed batch size is filled up with its own images."""
    count = len(fed)
    if interface.batch:
        fed = fed[np.arange(interface.batch) % count]
    outputs = session.run({interface.input_name: fed})
    return {name: values[:count] for name, values in outputs.items()}


def _fed(pictures: NDArray[np.uint8], model: Model, interface: ModelIO) -> Array:
    return pictures if interface.embed_preprocessing else normalise(pictures, model.data)


def sentence(report: Mapping[str, Any]) -> str:
    """Returns the accuracy in words, the same for a terminal, a report and an error."""
    skipped = f", {report['skipped']} that cannot be decoded left out" if report.get("skipped") else ""
    where = f"on {report['images']} images ({report['source']}{skipped})"
    if report["pytorch"] is None:
        agreed = "" if report["agreement"] is None else f"top-1 agreement with PyTorch {report['agreement']:.2%}, "
        return f"{agreed}{report['sqnr_db']:.1f} dB {where} without classes"
    low, high = report["interval"]
    return (
        f"top-1 {report['artifact']['top1']:.2%}, PyTorch {report['pytorch']['top1']:.2%}, {where}: a drop of "
        f"{report['drop']:.2f} points (95% within {low:.2f} to {high:.2f}, p = {report['p_value']:.2g}){_doubt(report)}"
    )


def _doubt(report: Mapping[str, Any]) -> str:
    """Returns what a passed goal leaves open: the images may be too few to rule out a larger drop."""
    drop, high, limit = report["drop"], report["interval"][1], report["max_drop"]
    if not drop <= limit < high:
        return ""
    enough = f", about {report['enough']} like them would" if report.get("enough") else ""
    return f"; {report['images']} images cannot rule out more than {limit:g} points{enough}"
