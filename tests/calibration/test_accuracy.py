"""Accuracies are counted in pairs, held to their goal, and images that do not fit the model are named."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from slide_export.calibration.accuracy import (
    MAX_SUGGESTED_IMAGES,
    PREVIEW_IMAGES,
    AccuracyReport,
    Hits,
    _images_needed,
    _report,
    compare,
    conclude,
    preview,
    top1,
    with_figures,
)
from slide_export.calibration.evaluation_set import EvaluationSet, load
from slide_export.calibration.fitness import refuse_unfit
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import ImageSet
from slide_export.calibration.parts import CHUNK_IMAGES, Counted, FileRange
from slide_export.calibration.significance import drop_interval
from slide_export.calibration.tally import Tally
from slide_export.core.errors import CalibrationError
from slide_export.core.measure import Measure
from slide_export.core.request import AccuracyGoal
from slide_export.models import DataConfig

DATA = DataConfig(keep_aspect=False, scale=1.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label, shade in (("cat", 10), ("dog", 200)):
        (tmp_path / label).mkdir()
        for index in range(30):
            Image.new("RGB", (8, 8), (shade,) * 3).save(tmp_path / label / f"{index}.png")
    return tmp_path


def by_brightness(pictures: np.ndarray) -> np.ndarray:
    bright = pictures.mean(axis=(1, 2, 3)) > 100
    return np.stack((~bright, bright), axis=1).astype(float)


def test_top1_counts_folders_in_order(root: Path) -> None:
    assert top1(by_brightness, root, PictureStore(DATA, (8, 8))) == 1.0
    assert top1(lambda pictures: by_brightness(pictures)[:, ::-1], root, PictureStore(DATA, (8, 8))) == 0.0
    assert top1(lambda pictures: np.tile([1.0, 0.0], (len(pictures), 1)), root, PictureStore(DATA, (8, 8))) == 0.5


def test_an_image_outside_a_class_folder_is_refused(root: Path) -> None:
    Image.new("RGB", (8, 8)).save(root / "stray.png")
    with pytest.raises(CalibrationError, match=r"stray\.png outside"):
        top1(by_brightness, root, PictureStore(DATA, (8, 8)))


def one_hot(classes: np.ndarray, width: int) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[classes]


def labelled(classes: list[int], width: int) -> EvaluationSet:
    files = tuple(Path(f"{index}.png") for index in range(len(classes)))
    return EvaluationSet(ImageSet("made up", Path(), files), np.array(classes), tuple("abcdefghij"[:width]))


def tallied(classes: list[int], ours: list[int], theirs: list[int], width: int = 10) -> Tally:
    """The counts of two classifiers that answered with these classes, in chunks of different sizes."""
    tally = Tally()
    for part in (slice(0, 7), slice(7, None)):
        if classes[part]:
            first, second = (one_hot(np.array(answers[part]), width) for answers in (ours, theirs))
            tally.add({"logits": first}, {"logits": second}, np.array(classes[part]))
    return tally


CLASSES = [index % 10 for index in range(100)]


def wrong(*places: int) -> list[int]:
    """Right answers but at these places."""
    return [(label + 1) % 10 if index in places else label for index, label in enumerate(CLASSES)]


def report(ours: list[int], theirs: list[int], goal: AccuracyGoal) -> AccuracyReport:
    return _report(tallied(CLASSES, ours, theirs), labelled(CLASSES, 10), goal, "a fake")


GOAL = AccuracyGoal(Path())


def test_what_is_lost_and_won_is_paired() -> None:
    found = report(wrong(0, 1, 2), wrong(2, 3), GOAL)
    assert (found.lost, found.won) == (1, 2)
    assert found.pytorch is not None
    assert found.artifact is not None
    assert (found.pytorch.top1, found.artifact.top1) == (0.97, 0.98)
    assert found.drop == pytest.approx(-1.0)
    assert found.interval == pytest.approx([100 * end for end in drop_interval(1, 2, 100)])
    assert found.agreement == pytest.approx(0.97)


@pytest.mark.parametrize(("mistakes", "passed"), [(0, True), (1, True), (2, False)])
def test_the_goal_is_points_of_top1(mistakes: int, passed: bool) -> None:
    found = report(wrong(), wrong(*range(mistakes)), GOAL)
    assert found.passed is passed
    assert found.max_drop == 1.0


def test_what_meets_the_goal_exactly_passes() -> None:
    found = replace(report(wrong(), wrong(), GOAL), min_sqnr_db=20.0)
    assert [replace(found, sqnr_db=value).passed for value in (19.99, 20.0, np.nan)] == [False, True, False]


def test_top5_counts_the_five_best() -> None:
    tally, ranks = Tally(), np.tile(np.arange(10.0), (4, 1))  # class 9 is best, class 5 is fifth
    tally.add({"logits": ranks}, {"logits": ranks}, np.array([9, 5, 4, 0]))
    assert tally.pytorch == [1, 2]


def test_without_classes_changed_answers_and_decibels_are_held_to_the_goal() -> None:
    unknown = EvaluationSet(labelled(CLASSES, 10).images)
    rng = np.random.default_rng(0)
    scores = 10 * one_hot(np.array(CLASSES), 10)

    def judged(found: np.ndarray, goal: AccuracyGoal = GOAL) -> AccuracyReport:
        tally = Tally()
        tally.add({"logits": scores}, {"logits": found}, None)
        return _report(tally, unknown, goal, "a fake")

    noise = rng.normal(size=scores.shape)
    near = judged(scores + 0.1 * noise)
    expected = 10 * np.log10(np.square(scores).sum() / np.square(0.1 * noise).sum())
    assert near.sqnr_db == pytest.approx(expected, abs=0.01)
    assert near.passed
    assert (near.drop, near.p_value) == (0, None)
    assert not judged(scores + 0.5 * noise).passed  # 16 dB
    assert judged(scores + 0.5 * noise, AccuracyGoal(Path(), min_sqnr_db=10)).passed
    moved = scores.copy()
    moved[:2] = np.roll(moved[:2], 1, axis=1)
    assert judged(moved, AccuracyGoal(Path(), min_sqnr_db=0)).drop == pytest.approx(2.0)
    assert not judged(moved, AccuracyGoal(Path(), min_sqnr_db=0)).passed
    assert not judged(np.full_like(scores, np.nan)).passed


def test_images_in_another_order_of_classes_are_named() -> None:
    answers = [{3: 7, 7: 3}.get(label, label) for label in CLASSES]
    with pytest.raises(
        CalibrationError, match=r"found 2 in another order \(d is what it calls 7, h is what it calls 3"
    ):
        refuse_unfit(tallied(CLASSES, answers, answers), labelled(CLASSES, 10))


def test_a_confused_class_is_no_wrong_order() -> None:
    answers = [{3: 7}.get(label, label) for label in CLASSES]
    refuse_unfit(tallied(CLASSES, answers, answers), labelled(CLASSES, 10))


@pytest.mark.parametrize("per_class", [2, 5, 50])
def test_twins_that_a_model_confuses_are_no_wrong_order(per_class: int) -> None:
    """Of two classes (maillot and maillot, tank suit) a little more than half are called the other one."""
    classes = CLASSES + [3, 7] * per_class
    classes = sorted(classes[100:] + [label for label in CLASSES if label not in (3, 7)])
    swaps, answers = {3: per_class // 2 + 1, 7: per_class // 2 + 1}, []
    for label in classes:
        swapped = swaps.get(label, 0) > 0
        answers.append(10 - label if swapped else label)
        if swapped:
            swaps[label] -= 1
    refuse_unfit(tallied(classes, answers, answers), labelled(classes, 10))


def test_a_wrong_order_is_seen_through_mistakes() -> None:
    classes, order = CLASSES * 5, {3: 7, 7: 8, 8: 3}
    answers = [order.get(label, label) if index % 10 < 7 else 0 for index, label in enumerate(sorted(classes))]
    with pytest.raises(CalibrationError, match=r"found 3 in another order .*d is what it calls 7"):
        refuse_unfit(tallied(sorted(classes), answers, answers), labelled(sorted(classes), 10))


def test_mislabelled_images_are_named_as_such() -> None:
    answers = np.random.default_rng(0).permutation(CLASSES).tolist()
    with pytest.raises(CalibrationError, match=r"better than guessing .* of 100 images .* the images are mislabelled"):
        refuse_unfit(tallied(CLASSES, answers, answers), labelled(CLASSES, 10))


def test_too_few_images_are_named_as_such() -> None:
    with pytest.raises(CalibrationError, match="expected enough images to judge by, found 2"):
        refuse_unfit(tallied([0, 1], [0, 1], [0, 1]), labelled([0, 1], 10))


def test_preview_takes_few_images_and_compare_takes_all_in_chunks(root: Path) -> None:
    for label, shade in (("cat", 10), ("dog", 200)):
        for index in range(30, 130):
            Image.new("RGB", (8, 8), (shade,) * 3).save(root / label / f"{index}.png")
    data, seen = load(root, (), 2), []

    def scores(pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        seen.append(len(pictures[0]))
        return {"logits": by_brightness(pictures[0])}

    preview(scores, data, PictureStore(DATA, (8, 8)))
    assert sum(seen) == PREVIEW_IMAGES
    seen.clear()
    found = compare(scores, scores, data, PictureStore(DATA, (8, 8)), GOAL, "a fake")
    assert sum(seen) == 2 * 260
    assert max(seen) <= CHUNK_IMAGES
    assert found.pytorch == found.artifact == Hits(1.0, None)
    with pytest.raises(CalibrationError, match="cat is what it calls 1, dog is what it calls 0"):
        preview(lambda pictures: {"logits": by_brightness(pictures[0])[:, ::-1]}, data, PictureStore(DATA, (8, 8)))


def test_a_broken_image_is_skipped_with_its_class(root: Path) -> None:
    (root / "cat" / "7.png").write_bytes(b"no picture")

    def scores(pictures: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        return {"logits": by_brightness(pictures[0])}

    data = load(root, (), 2)
    preview(scores, data, PictureStore(DATA, (8, 8)))
    found = compare(scores, scores, data, PictureStore(DATA, (8, 8)), GOAL, "a fake")
    assert (found.images, found.skipped) == (59, 1)
    assert found.pytorch == Hits(1.0, None)
    assert top1(by_brightness, root, PictureStore(DATA, (8, 8))) == 1.0


def test_decibels_are_asked_beside_classes_where_they_are_given() -> None:
    noisy = Tally()
    scores = one_hot(np.array(CLASSES), 10)
    noisy.add({"logits": scores}, {"logits": scores * 1.1}, np.array(CLASSES))  # 20 dB

    def judged(min_sqnr_db: float | None) -> AccuracyReport:
        return _report(noisy, labelled(CLASSES, 10), AccuracyGoal(Path(), min_sqnr_db=min_sqnr_db), "a fake")

    assert judged(None).passed
    assert judged(19).passed
    assert not judged(21).passed


@pytest.mark.parametrize(
    ("lost", "won", "max_drop", "enough"), [(0, 0, 1.0, 280), (1, 0, 3.0, 150), (0, 0, 3.0, None), (2, 0, 1.0, None)]
)
def test_how_many_images_would_show_the_goal(lost: int, won: int, max_drop: float, enough: int | None) -> None:
    found = report(wrong(*range(won)), wrong(*range(lost)), AccuracyGoal(Path(), max_drop))
    assert found.enough == enough


def test_other_outputs_than_scores_tell_no_class() -> None:
    maps = np.zeros((2, 3, 4, 4))
    tally = Tally()
    tally.add({"stage1": maps}, {"stage1": maps}, np.array([0, 1]))
    with pytest.raises(CalibrationError, match="expected scores of classes"):
        refuse_unfit(tally, labelled([0, 1], 2))
    found = _report(tally, EvaluationSet(labelled([0, 1], 2).images), GOAL, "a fake")
    assert (found.max_drop, found.min_sqnr_db) == (None, 20.0)


def test_more_than_a_million_images_are_suggested_to_nobody() -> None:
    """The number grows by 2 %: from 980,392 to a million, from one more beyond it."""
    assert MAX_SUGGESTED_IMAGES == 1_000_000
    bound = 100 * drop_interval(0, 0, MAX_SUGGESTED_IMAGES)[1]
    assert _images_needed(Tally(images=980_392, width=10), bound) == MAX_SUGGESTED_IMAGES
    assert _images_needed(Tally(images=980_393, width=10), bound) is None


@pytest.mark.parametrize("width", [2, 5, 6])
def test_scores_of_few_classes(width: int) -> None:
    classes = [index % width for index in range(20)]
    found = _report(tallied(classes, classes, classes, width), labelled(classes, width), GOAL, "a fake")
    assert (found.agreement, found.max_drop) == (1.0, 1.0)
    assert found.pytorch == Hits(1.0, 1.0 if width > 5 else None)


PSNR = Measure("PSNR", "dB", 0.1, ("in", "out"), lambda *_: SimpleNamespace())  # type: ignore[arg-type, return-value]


def reached(value: float, **others: float) -> Any:
    return SimpleNamespace(value=value, others=others)


@pytest.mark.parametrize(("goal", "most"), [(None, 0.1), (0.0, 0.0), (2.0, 2.0)])
def test_a_figure_may_drop_by_what_its_measure_says_where_nobody_does(goal: float | None, most: float) -> None:
    plain = report(wrong(), wrong(), GOAL)
    asked = AccuracyGoal(Path(), goal, 12.0)
    found = with_figures(plain, PSNR, asked, reached(31.0, SSIM=0.9), reached(30.5, SSIM=0.8))
    assert (found.drop, found.max_drop, found.min_sqnr_db) == (0.5, most, 12.0)
    assert found.passed is (most >= 0.5)
    assert found.measured is not None
    assert (found.measured.pytorch, found.measured.artifact) == (31.0, 30.5)
    assert [(one.name, one.pytorch, one.artifact) for one in found.measured.others] == [("SSIM", 0.9, 0.8)]


def test_a_measure_says_nothing_of_images_without_truths() -> None:
    data, tally = labelled(CLASSES, 10), tallied(CLASSES, CLASSES, CLASSES)
    counted = Counted(FileRange(0, 100), "a fake", tally, None)
    assert conclude(counted, data, GOAL, PSNR) == conclude(counted, data, GOAL)
    figures = replace(counted, measured=(reached(31.0), reached(31.0)))
    assert conclude(figures, data, GOAL).measured is None
    assert conclude(figures, data, GOAL, PSNR).measured is not None


def test_a_comparison_on_classes_in_another_order_is_refused() -> None:
    answers = [(label + 1) % 10 for label in CLASSES]
    counted = Counted(FileRange(0, 100), "a fake", tallied(CLASSES, answers, answers), None)
    with pytest.raises(CalibrationError, match="found 10 in another order"):
        conclude(counted, labelled(CLASSES, 10), GOAL)
