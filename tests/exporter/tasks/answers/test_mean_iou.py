"""Mean intersection over union against its definition, pixel by pixel; what is no class is left out or refused."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from slide_export.core.errors import CalibrationError
from slide_export.tasks.answers.mean_iou import IGNORED, MeanIou, mask_of

RNG = np.random.default_rng(0)
SIZE = (6, 5)
PICTURES = [np.zeros((2, *SIZE, 3), np.uint8)]
FILES = (Path("a.png"), Path("b.png"))


def config(classes: int = 4, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{"num_classes": classes, "reduce_zero_label": False, "align_corners": False, "threshold": 0.3, **more}
    )


class Maps:
    def __init__(self, *maps: Any) -> None:
        self.maps = dict(zip(FILES, (np.asarray(one, np.int32) for one in maps), strict=False))

    def label_map(self, file: Path) -> Any:
        return self.maps[file]


def counted(truths: Any, masks: Any, **more: Any) -> MeanIou:
    tally = MeanIou(Maps(*truths), config(**more))  # type: ignore[arg-type]
    tally.add({"mask": np.asarray(masks, np.uint8)}, PICTURES, FILES[: len(truths)])
    return tally


def by_definition(truth: Any, mask: Any, classes: int) -> float:
    shares = []
    for number in range(classes):
        ours, theirs = (mask == number) & (truth != IGNORED), truth == number
        if (ours | theirs).any():
            shares.append((ours & theirs).sum() / (ours | theirs).sum())
    return 100 * float(np.mean(shares))


def test_the_figure_is_its_definition() -> None:
    truths, masks = RNG.integers(0, 4, (2, *SIZE)), RNG.integers(0, 4, (2, *SIZE))
    truths[0, :2] = IGNORED
    tally = counted(truths, masks)
    assert tally.value == pytest.approx(by_definition(truths, masks, 4), rel=1e-12)
    right = (truths == masks)[truths != IGNORED].mean()
    assert tally.others == {"pixel accuracy (%)": pytest.approx(100 * right, rel=1e-12)}


def test_a_class_that_neither_has_is_no_part_of_the_mean() -> None:
    truth = np.zeros((1, *SIZE))
    assert counted(truth, truth).value == 100.0
    wrong = truth.copy()
    wrong[0, 0, 0] = 3  # found, and nowhere in the truth: its share is 0
    assert counted(truth, wrong).value == pytest.approx(100 * (29 / 30 + 0) / 2)


def test_parts_add_up() -> None:
    truths, masks = RNG.integers(0, 4, (2, *SIZE)), RNG.integers(0, 4, (2, *SIZE))
    whole = counted(truths, masks)
    first, second = counted(truths[:1], masks[:1]), counted(truths[1:], masks[1:])
    first.extend(second.plain(), FILES[1:])
    assert first.plain() == whole.plain()


def test_a_zero_that_means_nothing_moves_the_classes_by_one() -> None:
    written = np.array([[[0, 1, 2, IGNORED]]])
    shown = np.array([[[3, 0, 1, 3]]])
    tally = counted(written, shown, reduce_zero_label=True)
    assert tally.value == 100.0
    assert np.sum(tally.plain()) == 2


@pytest.mark.parametrize(("number", "fits"), [(-1, False), (0, True), (3, True), (4, False), (254, False), (255, True)])
def test_a_number_of_no_class_is_refused(number: int, fits: bool) -> None:
    truth = np.array([[[0, number]]])
    if fits:
        counted(truth, np.zeros((1, 1, 2)))
        return
    with pytest.raises(CalibrationError, match=rf"from 0 to 3 in a\.png, or 255 for none; found {number}: does"):
        counted(truth, np.zeros((1, 1, 2)))


def test_a_truth_without_any_class_has_no_figure() -> None:
    with pytest.raises(CalibrationError, match="found 255 everywhere"):
        _ = counted(np.full((1, *SIZE), IGNORED), np.zeros((1, *SIZE))).value


@pytest.mark.parametrize("align", [False, True])
def test_logits_are_enlarged_as_the_model_enlarges_its_own(align: bool) -> None:
    logits = RNG.normal(size=(1, 4, 3, 3)).astype(np.float32)
    found = mask_of({"logits": logits}, SIZE, config(align_corners=align))
    whole = torch.nn.functional.interpolate(torch.from_numpy(logits), SIZE, mode="bilinear", align_corners=align)
    assert np.array_equal(found, whole[0].argmax(0).numpy())
    assert found.dtype == np.uint8
    same = RNG.normal(size=(1, 4, *SIZE)).astype(np.float32)
    assert np.array_equal(mask_of({"logits": same}, SIZE, config()), same[0].argmax(0))


@pytest.mark.parametrize(("classes", "dtype"), [(IGNORED, np.uint8), (IGNORED + 1, np.int64)])
def test_the_last_number_of_a_byte_is_no_class(classes: int, dtype: type) -> None:
    logits = np.zeros((1, classes, 1, 1), np.float32)
    logits[0, -1] = 1
    found = mask_of({"logits": logits}, (1, 1), config(classes))
    assert (found.dtype, int(found[0, 0])) == (dtype, classes - 1)


def test_a_single_class_is_there_above_its_threshold() -> None:
    limit = np.log(0.3 / 0.7)
    logits = np.array([[[[limit - 1e-3, limit + 1e-3]]]], np.float32)
    assert mask_of({"logits": logits}, (1, 2), config(1)).tolist() == [[0, 1]]
    assert MeanIou(Maps(), config(1)).count == 2  # type: ignore[arg-type]
