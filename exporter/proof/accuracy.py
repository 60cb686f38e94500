"""The accuracy gate on a served model and its artifact: which images, what each is fed, what the verdict says."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from slide_export.backends.interface import Session
from slide_export.calibration import accuracy, parts, samples
from slide_export.calibration import evaluation_set as labelled
from slide_export.calibration.accuracy import AccuracyReport
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import ImageSet, find
from slide_export.calibration.parts import Counted, FileRange, Scores
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import RequestError, option
from slide_export.core.proof import batch_sizes
from slide_export.core.request import AccuracyGoal
from slide_export.core.task import Task, answers_of
from slide_export.inference.served import ServedModel, repeated


def open_images(goal: AccuracyGoal, served: ServedModel, store: PictureStore) -> EvaluationSet:
    """Load the evaluation set and check its labels: PyTorch must beat chance on a sample.

    Images of a task without labels have no classes, whatever folder they lie in.

    Raises:
        CalibrationError: the images or their classes are not fit for this model.
        RequestError: the goal limits a drop of top-1 where the outputs are no scores.
    """
    data = list_images(goal, served, store)
    if served.task.labelled:
        accuracy.preview(of_pytorch(served), data, store)  # before anything is exported: wrong classes cost seconds
    return data


def list_images(goal: AccuracyGoal, served: ServedModel, store: PictureStore) -> EvaluationSet:
    """The evaluation set with nothing decoded: for another process, where it was opened already.

    Raises:
        CalibrationError, RequestError: see `open_images`.
    """
    task = served.task
    if not task.labelled:
        return _measured(goal, task, store)
    told = samples.of_list(goal.images, task)
    store.take(told)
    answers, sample = answers_of(served.trained.config), (lambda file: told.get(file) or task.sample(file))
    return labelled.load(goal.images, served.io.labels, answers, sample, task.headings[0])


def _measured(goal: AccuracyGoal, task: Task, store: PictureStore) -> EvaluationSet:
    """Images whose truths are no classes, or have none.

    Raises:
        RequestError: the goal limits a drop, and nothing tells how good an answer is.
    """
    # COCO's file lists its images itself, beside boxes that no folder could tell.
    if task.measure and task.measure.listing and goal.images.suffix.lower() == ".json":
        every = dict(task.measure.listing(goal.images))
        return EvaluationSet(ImageSet(goal.images.name, goal.images.parent, tuple(every)), truths=every)
    images, told = samples.of_set(find(goal.images), task)
    store.take(told)
    truths, pair = {}, task.measure.pair if task.measure else ("", "")
    if task.measure:
        truths = samples.truths_of_list(goal.images, pair) or samples.truths_of_folders(images.files, pair)
    # Some without a truth are left out, for a mean over both kinds would be of neither; none at all is agreement alone.
    if 0 < len(truths) < len(images.files):
        images = replace(images, files=tuple(file for file in images.files if file in truths))
    if goal.max_drop is not None and not truths:
        why = f"{' and '.join(pair)} of each image are not there" if task.measure else f"{task.name} has none"
        raise RequestError(f"{option('max_drop')} needs scores of classes, {why}: give {option('min_sqnr_db')}")
    return EvaluationSet(images, truths=truths)


def evaluate(
    trained: Scores,
    served: ServedModel,
    session: Session,
    data: EvaluationSet,
    goal: AccuracyGoal,
    store: PictureStore,
) -> AccuracyReport:
    """What the artifact loses to the trained model on every image.

    Args:
        trained: scores of the trained model, see `of_pytorch`.

    Raises:
        CalibrationError: too many images cannot be decoded, or the classes are not the model's.
    """
    measure, config = served.task.measure, served.trained.config
    return accuracy.compare(trained, of_session(session, served), data, store, goal, session.evaluator, measure, config)


def count(
    trained: Scores,
    served: ServedModel,
    session: Session,
    data: EvaluationSet,
    store: PictureStore,
    part: FileRange,
) -> Counted:
    """Count a part of what `evaluate` counts; `conclude` judges the parts."""
    measure, config = served.task.measure, served.trained.config
    scores = of_session(session, served)
    return parts.count(trained, scores, data, store, session.evaluator, measure, config, part)


def conclude(
    counted: Sequence[Mapping[str, Any]],
    served: ServedModel,
    data: EvaluationSet,
    goal: AccuracyGoal,
    store: PictureStore,
) -> AccuracyReport:
    """The report of parts that were counted apart, `Counted.plain` of each: that of `evaluate`, bit for bit.

    Raises:
        CalibrationError: too many images cannot be decoded, or the classes are not the model's.
        RequestError: the parts are not the whole set, or different runtimes counted them.
    """
    measure = served.task.measure
    whole = parts.merged(counted, data, store, measure, served.trained.config)
    return accuracy.conclude(whole, data, goal, measure)


def of_pytorch(served: ServedModel) -> Scores:
    """Scores of pictures by the trained model in float32."""
    wrapper = served.wrapper()

    def scores(pictures: Sequence[NDArray[np.uint8]]) -> Outputs:
        """Outputs by name of decoded pictures, float32."""
        with torch.inference_mode():
            return served.named(wrapper(*served.tensors(served.feeds(pictures), torch.float32)))

    return scores


def of_session(session: Session, served: ServedModel) -> Scores:
    """Scores of pictures by an artifact, in batches that it takes."""
    # The largest batch that was proved: another one might be computed by other kernels.
    size = served.io.batch or batch_sizes(len(served.input_names) * 3 * math.prod(served.trained.image_size))[-1]

    def scores(pictures: Sequence[NDArray[np.uint8]]) -> Outputs:
        """Outputs by name of decoded pictures, run in parts of the artifact's batch."""
        fed = served.feeds(pictures)
        batches = [
            _run(session, {name: value[start : start + size] for name, value in fed.items()}, served.io.batch)
            for start in range(0, len(pictures[0]), size)
        ]
        return {name: np.concatenate([one[name] for one in batches]) for name in served.output_names}

    return scores


def _run(session: Session, fed: Feeds, batch: int | None) -> Outputs:
    """Outputs of a batch; one too small for a fixed batch size is filled up with its own images."""
    count = len(next(iter(fed.values())))
    if batch:
        # A fixed batch takes no fewer; answers to the repeats are dropped below.
        fed = {name: repeated(value, batch) for name, value in fed.items()}
    return {name: values[:count] for name, values in session.run(fed).items()}  # without the repeated images


def sentence(report: Mapping[str, Any]) -> str:
    """Describe the accuracy in words, the same for a terminal, a report and an error."""
    skipped = f", {report['skipped']} that cannot be decoded left out" if report.get("skipped") else ""
    where = f"on {report['images']} images ({report['source']}{skipped})"
    if found := report.get("measured"):
        name, unit = found["name"], found["unit"]
        return (
            # + 0.0: a drop of -0.0004 would be written as -0.000.
            f"{name} {found['artifact']:.2f} {unit}, PyTorch {found['pytorch']:.2f} {unit}, {where}: a drop of "
            f"{round(report['drop'], 3) + 0.0:.3f} {unit}{_others(found)}; {report['sqnr_db']:.1f} dB between the two"
        )
    if report["pytorch"] is None:
        agreed = "" if report["agreement"] is None else f"top-1 agreement with PyTorch {report['agreement']:.2%}, "
        return f"{agreed}{report['sqnr_db']:.1f} dB {where} without classes"
    low, high = report["interval"]
    return (
        f"top-1 {report['artifact']['top1']:.2%}, PyTorch {report['pytorch']['top1']:.2%}, {where}: a drop of "
        f"{report['drop']:.2f} points (95% within {low:.2f} to {high:.2f}, p = {report['p_value']:.2g}){_doubt(report)}"
    )


def _others(measured: Mapping[str, Any]) -> str:
    """Figures beside the measured one, in words."""
    return "".join(
        f", {one['name']} {one['artifact']:.2f} (PyTorch {one['pytorch']:.2f})" for one in measured.get("others", ())
    )


def _doubt(report: Mapping[str, Any]) -> str:
    """What a passed goal leaves open, in words: the images may be too few to rule out a larger drop; else empty."""
    drop, high, limit = report["drop"], report["interval"][1], report["max_drop"]
    if not drop <= limit < high:  # refused, or the whole interval is within the limit
        return ""
    enough = f", about {report['enough']} like them would" if report.get("enough") else ""
    return f"; {report['images']} images cannot rule out more than {limit:g} points{enough}"
