"""Parts that were counted apart are the whole, bit for bit, wherever it is cut and whichever files are broken."""

import json
import random
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slide_export.calibration.accuracy import AccuracyReport, conclude
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.images import BrokenFiles, ImageSet
from slide_export.calibration.parts import Counted, FileRange, chunk_of, chunks, count, merged, ranges
from slide_export.calibration.tally import Tally
from slide_export.core.errors import CalibrationError, RequestError
from slide_export.core.measure import Measure
from slide_export.core.request import AccuracyGoal
from slide_export.tasks import TASKS
from slide_export.tasks.detect import DETECT
from slide_export.tasks.restore import RESTORE
from slide_export.tasks.segment import SEGMENT

SIDE = 8
CONFIG = SimpleNamespace(
    num_classes=3,
    reduce_zero_label=False,
    align_corners=False,
    score_threshold=0.05,
    iou_threshold=0.5,
    candidates=1000,
    detections=100,
    anchor_scales=(1.0,),
    anchor_ratios=(1.0,),
    anchor_strides=(8,),
)


class Pictures:
    """A store whose pictures follow from the numbers that their files are called by; some cannot be decoded."""

    def __init__(self, broken: frozenset[int] = frozenset()) -> None:
        self.broken = broken

    def load(self, file: Path) -> tuple[np.ndarray, ...]:
        if int(file.stem) in self.broken:
            raise CalibrationError(f"expected an image, {file.name} cannot be decoded")
        return (self.picture(file),)

    def picture(self, file: Path) -> np.ndarray:
        return np.random.default_rng(int(file.stem)).integers(0, 256, (SIDE, SIDE, 3), np.uint8)

    def placed(self, rows: int, cols: int) -> tuple[int, int]:
        return SIDE, SIDE

    def label_map(self, file: Path) -> np.ndarray:
        return np.random.default_rng(int(file.stem) + 1).integers(0, 3, (SIDE, SIDE), np.int32)


def _numbers(pictures: Any, width: int, seed: int) -> np.ndarray:
    """Float32 that depend on each picture and on its neighbours in the batch, as a kernel's last bits may."""
    flat = pictures[0].reshape(len(pictures[0]), -1).astype(np.float64) / 255
    weights = np.random.default_rng(seed).normal(size=(flat.shape[1], width))
    return (flat @ weights * (1 + 1e-7 * len(flat))).astype(np.float32)


def classify(seed: int) -> Any:
    return lambda pictures: {"logits": _numbers(pictures, 10, seed)}


def features(seed: int) -> Any:
    """Several outputs, each a term of the sums."""
    return lambda pictures: {
        f"stage{n}": _numbers(pictures, 2 * SIDE, seed + n).reshape(-1, 2, 2, SIDE // 2) for n in range(3)
    }


def restore(seed: int) -> Any:
    return lambda pictures: {"restored": _numbers(pictures, 3 * SIDE**2, seed).reshape(-1, 3, SIDE, SIDE)}


def segment(seed: int) -> Any:
    return lambda pictures: {"logits": _numbers(pictures, 3 * SIDE**2, seed).reshape(-1, 3, SIDE, SIDE)}


def detect(seed: int) -> Any:
    def found(pictures: Any) -> dict[str, np.ndarray]:
        numbers = _numbers(pictures, 4 + 3, seed)
        scores, corners = 1 / (1 + np.exp(-numbers[:, None, 4:])), np.abs(numbers[:, None, :4])
        return {"scores": scores, "boxes": np.concatenate([corners[..., :2], corners[..., :2] + 4], axis=2)}

    return found


@pytest.fixture(scope="module")
def instances(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of COCO's form of 60 pictures, a box each."""
    content: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": n} for n in (2, 5, 9)]}
    for number in range(60):
        content["images"].append({"id": number, "file_name": f"{number}.png", "width": 11, "height": 13})
        box = {"id": number + 1, "image_id": number, "category_id": (2, 5, 9)[number % 3], "bbox": [1, 1, 6, 6]}
        content["annotations"].append({**box, "area": 36, "iscrowd": 0})
    path = tmp_path_factory.mktemp("coco") / "instances.json"
    path.write_text(json.dumps(content))
    return path


def images(count: int) -> ImageSet:
    return ImageSet("made up", Path(), tuple(Path(f"{number}.png") for number in range(count)))


def with_truths(count: int, listing: Path | None = None) -> EvaluationSet:
    every = images(count)
    truths = {file: Path(file.stem) if listing is None else listing / file.stem for file in every.files}
    return EvaluationSet(every, truths=truths)


def with_classes(count: int) -> EvaluationSet:
    """Classes that the trained model has mostly right, so that its judgement is one of the artifact."""
    every = images(count)
    scores = classify(0)(tuple(np.stack(column) for column in zip(*map(Pictures().load, every.files), strict=True)))
    classes = scores["logits"].argmax(axis=1)
    classes[::7] = (classes[::7] + 1) % 10
    return EvaluationSet(every, classes, tuple("abcdefghij"))


def in_bits(value: Any) -> Any:
    """A value whose equality is that of every bit; NaN equals itself."""
    return json.dumps(value, default=float.hex, sort_keys=True)


def outcome(counted: Any, data: EvaluationSet, measure: Measure | None) -> Any:
    """All fields of the report, or what was refused."""
    try:
        one: Counted = counted()
        report: AccuracyReport = conclude(one, data, AccuracyGoal(Path()), measure)
    except (CalibrationError, RequestError) as error:
        return f"{type(error).__name__}: {error}"
    return in_bits(one.plain()), in_bits({name: repr(value) for name, value in asdict(report).items()})


def compared(
    data: EvaluationSet, model: Any, measure: Measure | None, broken: frozenset[int], cuts: list[int], seed: int
) -> tuple[Any, Any]:
    """Outcome in one piece, and of parts in any order, each through JSON."""
    files, chunk = len(data.images.files), chunk_of(measure)
    ends = [0, *sorted({min(cut * chunk, files) for cut in cuts} - {0, files}), files]
    parts = [FileRange(*ends[at : at + 2]) for at in range(len(ends) - 1)]
    random.Random(seed).shuffle(parts)

    def counted(part: FileRange | None) -> Counted:
        return count(model(0), model(1), data, Pictures(broken), "a fake", measure, CONFIG, part)  # type: ignore[arg-type]

    def apart() -> Counted:
        told = [json.loads(json.dumps(counted(part).plain(), allow_nan=False)) for part in parts]
        return merged(told, data, Pictures(broken), measure, CONFIG)  # type: ignore[arg-type]

    return outcome(lambda: counted(None), data, measure), outcome(apart, data, measure)


CASES = st.tuples(
    st.frozensets(st.integers(0, 159), max_size=6), st.lists(st.integers(1, 40), max_size=6), st.integers(0, 2**16)
)


@settings(deadline=None, max_examples=15)
@given(files=st.integers(1, 160), case=CASES)
def test_a_classifier(files: int, case: Any) -> None:
    whole, parts = compared(with_classes(files), classify, None, *case)
    assert parts == whole


@settings(deadline=None, max_examples=20)
@given(files=st.integers(1, 160), case=CASES)
def test_a_classifier_without_classes(files: int, case: Any) -> None:
    whole, parts = compared(EvaluationSet(images(files)), classify, None, *case)
    assert parts == whole


@settings(deadline=None, max_examples=20)
@given(files=st.integers(1, 160), case=CASES)
def test_several_outputs(files: int, case: Any) -> None:
    whole, parts = compared(EvaluationSet(images(files)), features, None, *case)
    assert parts == whole


@settings(deadline=None, max_examples=12)
@given(files=st.integers(1, 60), case=CASES)
@pytest.mark.parametrize(("model", "task"), [(restore, RESTORE), (segment, SEGMENT)])
def test_answers_with_truths(model: Any, task: Any, files: int, case: Any) -> None:
    whole, parts = compared(with_truths(files), model, task.measure, *case)
    assert parts == whole


@settings(deadline=None, max_examples=5)
@given(case=CASES)
def test_detections(instances: Path, case: Any) -> None:
    pytest.importorskip("pycocotools")
    whole, parts = compared(with_truths(60, instances), detect, DETECT.measure, *case)
    assert parts == whole


def test_every_measure_of_a_task_can_be_divided() -> None:
    measures = [task.measure for task in TASKS if task.measure]
    assert len(measures) >= 3
    for measure in measures:
        assert (
            count(restore(0), restore(1), EvaluationSet(images(0)), Pictures(), "", measure).plain()["measured"] is None
        )  # type: ignore[arg-type]
        tally = measure.tally(Pictures(), CONFIG)
        tally.extend(json.loads(json.dumps(tally.plain())), [])  # type: ignore[attr-defined]


def test_sums_are_those_of_one_loop_over_the_chunks() -> None:
    """An independent computation: what the tally was before it could be divided."""
    data, scores, others = EvaluationSet(images(150)), classify(0), classify(1)
    whole = count(scores, others, data, Pictures(), "a fake").tally  # type: ignore[arg-type]
    signal = noise = 0.0
    for start in range(0, 150, 48):
        chunk = (np.stack([Pictures().picture(file) for file in data.images.files[start : start + 48]]),)
        exact = scores(chunk)["logits"].astype(np.float64)
        signal += float(np.square(exact).sum())
        noise += float(np.square(others(chunk)["logits"].astype(np.float64) - exact).sum())
    assert (whole.signal.hex(), whole.noise.hex()) == (signal.hex(), noise.hex())


def test_the_order_of_parts_matters_to_the_last_bit() -> None:
    """What the terms are kept for: sums of parts, added up, are another number."""
    terms = [1e16, 1.0, 1.0]
    whole, parts = Tally(signals=list(terms)), Tally(signals=terms[:1])
    parts.extend(Tally(signals=terms[1:]))
    assert parts.signal == whole.signal == 1e16
    assert terms[0] + (terms[1] + terms[2]) != whole.signal


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 5e-324, 0.1])
def test_every_float_comes_back_as_it_was(value: float) -> None:
    tally = Tally(signals=[value], noises=[value], images=3)
    again = Tally.parsed(json.loads(json.dumps(tally.plain(), allow_nan=False)))
    assert [one.hex() for one in again.signals] == [value.hex()]


@pytest.mark.parametrize("files", [None, FileRange(2, 7)])
def test_chunks_take_every_file_once(files: FileRange | None) -> None:
    data = EvaluationSet(images(10))
    found = list(chunks(data, Pictures(frozenset({4})), 3, BrokenFiles(data.images), files))  # type: ignore[arg-type]
    asked = range(10) if files is None else range(2, 7)
    assert [place for places, _, _ in found for place in places] == [place for place in asked if place != 4]
    assert all(len(pictures) == len(places) <= 3 for places, (pictures,), _ in found)


def test_parts_are_whole_chunks() -> None:
    assert ranges(100, 8, 30) == tuple(FileRange(start, min(start + 24, 100)) for start in range(0, 100, 24))
    assert ranges(100, 48, 1) == (FileRange(0, 48), FileRange(48, 96), FileRange(96, 100))
    assert ranges(0, 48, 48) == ()


@pytest.mark.parametrize("change", ["missing", "twice", "other runtime", "too long"])
def test_parts_that_are_not_the_whole_are_refused(change: str) -> None:
    data = EvaluationSet(images(144))
    parts = [
        count(classify(0), classify(1), data, Pictures(), "a fake", part=part).plain()  # type: ignore[arg-type]
        for part in ranges(144, 48, 48)
    ]
    assert merged(parts, data, Pictures()).tally.images == 144  # type: ignore[arg-type]
    changed = {
        "missing": parts[:2],
        "twice": [*parts, parts[0]],
        "other runtime": [*parts[:2], {**parts[2], "evaluator": "another"}],
        "too long": [*parts[:2], {**parts[2], "files": [96, 192]}],
    }
    with pytest.raises(RequestError, match="one runtime" if change == "other runtime" else "parts that are all 144"):
        merged(changed[change], data, Pictures())  # type: ignore[arg-type]


def test_a_measure_that_cannot_be_divided_is_named() -> None:
    class Mean:
        value, others = 0.0, {}

        def add(self, *_: object) -> None: ...

    measure = Measure("mean", "points", 1.0, ("a", "b"), lambda *_: Mean())
    counted = count(restore(0), restore(1), with_truths(4), Pictures(), "", measure)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="found Mean, which has none: evaluate in one process"):
        counted.plain()


def test_a_part_of_broken_files_tells_no_more_of_them_than_it_takes() -> None:
    broken = frozenset(range(48))
    found = count(classify(0), classify(1), EvaluationSet(images(96)), Pictures(broken), "", part=FileRange(0, 48))  # type: ignore[arg-type]
    assert (found.tally.images, len(found.broken)) == (0, 2)
