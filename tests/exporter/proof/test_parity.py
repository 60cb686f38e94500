"""The proof accepts what rounding does and refuses one wrong weight."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from slide_export.backends import onnx as backend
from slide_export.backends.interface import LoweringOptions
from slide_export.calibration.images import bundled
from slide_export.calibration.recipe import default
from slide_export.core.artifact import Feeds, ModelIO, Outputs
from slide_export.core.model import Model
from slide_export.core.precision import FP16, FP32, INT8
from slide_export.core.proof import Flip, Reference, Rule, RuleParity
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.forms import FORMS, NATIVE
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form, serve
from slide_export.proof import parity
from slide_export.proof.ordering import Expected
from slide_export.proof.reference import subset
from tests.conftest import reference_of

PLAIN = ModelIO()


@pytest.fixture(scope="module")
def reference(model: Model) -> Reference:
    return reference_of(model, bundled(), PLAIN)


def export(model: Model, directory: Path, interface: ModelIO = PLAIN, form: str = "grouped") -> Path:
    graph = onnx_graph.export(in_form(choose(fuse(model), form), interface))
    return backend.lower(graph, directory, LoweringOptions(FP32, interface)).path


@pytest.fixture(scope="module")
def artifact(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(model, tmp_path_factory.mktemp("artifact"))


class Fake:
    """A session that answers with the reference plus a disturbance."""

    evaluator = "a fake"

    def __init__(self, reference: Reference, disturb: dict[int, np.ndarray]) -> None:
        self.known = {row.tobytes(): index for index, row in enumerate(reference.feeds["images"])}
        self.exact, self.disturb = reference.exact["logits"], disturb

    def run(self, feeds: Feeds) -> Outputs:
        index = [self.known[row.tobytes()] for row in feeds["images"]]
        return {"logits": np.stack([self.exact[i] + self.disturb.get(i, 0) for i in index])}


@pytest.mark.parametrize("form", [name for name in FORMS if name != NATIVE])  # which needs a library: test_native
def test_every_form_passes_at_every_batch_size(form: str, model: Model, reference: Reference, tmp_path: Path) -> None:
    proof = parity.check(reference, backend.Session(export(model, tmp_path, form=form), {}), None, decision_axis=1)
    assert proof.passed
    assert proof.batch_sizes == (1, 2, 3, 8)
    assert proof.top1 == 1.0
    assert proof.outputs[0].sqnr_db > 100


def test_reference_is_the_trained_model_in_float64(model: Model, reference: Reference) -> None:
    fed = torch.from_numpy(reference.feeds["images"][2:3]).double()
    with torch.inference_mode():
        expected = copy.deepcopy(model.module).double()(fed).numpy()
    assert np.abs(reference.exact["logits"][2:3] - expected).max() < 1e-12
    assert reference.rounded["logits"].dtype == np.float32


@pytest.mark.parametrize("initializer", ["head.weight", "layers.2.blocks.0.norm1.weight", "patch_embed.proj.bias"])
def test_one_weight_off_by_a_percent_fails(
    initializer: str, reference: Reference, artifact: Path, tmp_path: Path
) -> None:
    proto = onnx.load(artifact)
    tensor = next(item for item in proto.graph.initializer if item.name == initializer)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[np.abs(values).argmax()] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(values, initializer))
    onnx.save(proto, tmp_path / "altered.onnx")
    proof = parity.check(reference, backend.Session(tmp_path / "altered.onnx", {}), None, decision_axis=1)
    assert not proof.passed
    assert proof.outputs[0].max_abs > 2 * proof.outputs[0].limit_max


def test_the_numbers_are_what_they_say(reference: Reference) -> None:
    noise = np.random.default_rng(0).normal(size=(8, 10)) * 1e-3
    proof = parity.check(reference, Fake(reference, dict(enumerate(noise))), None, decision_axis=1)
    (output,), batches = proof.outputs, [*range(1), *range(2), *range(3), *range(8)]
    assert output.max_abs == pytest.approx(np.abs(noise[batches]).max())
    assert output.rms == pytest.approx(np.sqrt((noise[batches] ** 2).mean()))
    signal, error = reference.exact["logits"][batches], noise[batches]
    assert output.sqnr_db == pytest.approx(10 * np.log10((signal**2).sum() / (error**2).sum()))
    floor = np.abs(reference.rounded["logits"] - reference.exact["logits"])
    assert output.limit_max == pytest.approx(FP32.tolerance_factor * floor.max())


def test_a_confident_flip_is_named_with_its_margin(reference: Reference) -> None:
    exact = reference.exact["logits"][4]
    best, other = exact.argmax(), exact.argmin()
    disturb = np.zeros(10)
    disturb[other] = exact[best] - exact[other] + 1e-3
    proof = parity.check(reference, Fake(reference, {4: disturb}), None, decision_axis=1)
    (flip,) = proof.flips
    ordered = np.sort(exact)
    assert (flip.image, flip.expected, flip.found) == (reference.images[4], best, other)
    assert flip.margin == pytest.approx(ordered[-1] - ordered[-2])
    assert proof.top1 == pytest.approx(13 / 14)
    assert not proof.passed


def nine(reference: Reference) -> Reference:
    """The eight photographs and one more that differs from each of them."""
    feeds, exact = reference.feeds["images"], reference.exact["logits"]
    more = {"images": np.concatenate((feeds, feeds[:1] + 1))}, {"logits": np.concatenate((exact, exact[:1]))}
    rounded = np.concatenate((reference.rounded["logits"], reference.rounded["logits"][:1]))
    return replace(
        reference, images=(*reference.images, "ninth"), feeds=more[0], exact=more[1], rounded={"logits": rounded}
    )


@pytest.mark.parametrize("batch", [None, 1, 8])
@pytest.mark.parametrize("wrong", [0, 7, 8])
def test_one_wrong_image_fails_wherever_it_stands(wrong: int, batch: int | None, reference: Reference) -> None:
    every = nine(reference)
    assert parity.check(every, Fake(every, {}), batch, decision_axis=1).passed
    assert not parity.check(every, Fake(every, {wrong: np.full(10, 0.1)}), batch, decision_axis=1).passed


@pytest.mark.parametrize(
    ("count", "sizes", "expected"),
    [
        (9, (1, 2, 3, 8), [[0], [0, 1], [0, 1, 2], list(range(8)), [8, 0, 1, 2, 3, 4, 5, 6]]),
        (2, (1, 2, 3, 8), [[0], [0, 1], [0, 1, 0], [0, 1, 0, 1, 0, 1, 0, 1]]),
        (3, (2,), [[0, 1], [2, 0]]),
        (4, (2,), [[0, 1], [2, 3]]),
    ],
)
def test_every_image_is_in_a_batch(count: int, sizes: tuple[int, ...], expected: list[list[int]]) -> None:
    assert [list(found) for found in parity._batches(count, sizes)] == expected


def test_what_float32_holds_exactly_has_the_floor_of_float32(reference: Reference) -> None:
    """One unit of the largest value in float32, and a quarter of it for the root mean square."""
    sharp = replace(reference, rounded=reference.exact)
    (output,) = parity.check(sharp, Fake(sharp, {}), None, decision_axis=1).outputs
    unit = np.finfo(np.float32).eps * np.abs(reference.exact["logits"]).max()
    assert (output.floor_max, output.floor_rms) == pytest.approx((unit, unit / 4), rel=1e-12)


def decided(reference: Reference, found: Any) -> tuple[float | None, tuple[Any, ...]]:
    """Share of equal decisions along the second axis, and each image's worst flip."""
    decisions = parity._Decided(reference, 1)
    for image in range(len(reference.images)):
        decisions.add({name: value[image : image + 1] for name, value in found.items()}, image)
    return decisions.share, decisions.flips


def test_a_dense_decision_is_flipped_where_its_margin_is_largest() -> None:
    """Three of four pixels of the second image change: one that the model was surest of is named, of a tie the last."""
    exact = np.zeros((2, 2, 1, 4))  # [B, K, H, W]
    exact[:, 0] = [1.0, 3.0, 3.0, 2.0]
    found = exact.copy()
    found[1, 1, 0, :3] = 9.0
    reference = Reference("s", ("a", "b"), {}, {"map": exact}, {"map": exact})
    top1, (flip,) = decided(reference, {"map": found})
    assert (top1, flip.image, flip.margin, flip.expected, flip.found) == (0.625, "b at 0,2", 3.0, 0, 1)
    assert parity._decisions(reference, 1) == 4
    assert parity._decisions(replace(reference, exact={"map": exact[:, :, 0, 0]}), 1) == 1
    assert parity._decisions(reference, None) == 0


def test_of_a_flip_in_two_batches_the_larger_stands_and_of_equal_ones_the_last() -> None:
    """One image of three classes, 5, 4 and 1, which two runs take for the second and the third."""
    exact = {"logits": np.array([[5.0, 4.0, 1.0]])}
    decisions = parity._Decided(Reference("s", ("a",), {}, exact, exact), 1)
    for order in ([0, 9, 1], [0, 1, 9]):
        decisions.add({"logits": np.array([order], np.float64)}, 0)
    (flip,) = decisions.flips
    assert (flip.found, flip.margin, decisions.share) == (2, 1.0, 0.0)


def test_an_image_in_several_orders_has_its_worst_flip() -> None:
    flips = Flip("a", 0, 1, 1.0), Flip("a", 0, 2, 3.0), Flip("b", 0, 1, 0.5), Flip("a", 0, 3, 3.0), Flip("a", 0, 4, 2.0)
    assert parity._once_an_image(flips) == (flips[1], flips[2])


def test_a_model_that_sorts_is_held_beside_its_own_orders_and_the_artifacts() -> None:
    """Under the order that the artifact took, the second image has another class than under the model's own."""
    own = {"logits": np.array([[3.0, 1.0], [3.0, 1.0]])}
    taken = {"logits": np.array([[3.0, 1.0], [0.5, 1.0]])}
    asked: list[list[int]] = []

    class Ordered:
        def expected(self, images: NDArray[np.intp]) -> Expected:
            asked.append(images.tolist())
            rows = {name: value[images] for name, value in taken.items()}
            return Expected(rows, rows, {})

    class Sorts:
        evaluator = "a fake"

        def run(self, feeds: Feeds) -> Outputs:
            return {"logits": taken["logits"][feeds["index"]]}

    reference = Reference("s", ("a", "b"), {"index": np.arange(2)}, own, own)
    ordering: Any = Ordered()
    found = parity.check(reference, Sorts(), 2, decision_axis=1, ordering=ordering)
    assert asked == [[0, 1]]
    assert (found.outputs[0].max_abs, found.top1, found.flips, found.reordered) == (0.0, 1.0, (), 2.5)
    (flip,) = found.reordered_flips
    assert (flip.image, flip.expected, flip.found, flip.margin) == ("b", 0, 1, 2.0)


def test_an_output_that_follows_from_others_is_judged_image_by_image() -> None:
    """A rule that counts the reference's rows that it is shown, and adds them up over all images and batches."""
    seen: list[list[float]] = []

    def judge(found: Outputs, one: Outputs) -> RuleParity:
        seen.append(one["scores"][:, 0].tolist())
        return RuleParity("kept", len(found["kept"]), 1, 2, 3)

    exact = {"scores": np.array([[1.0, 0.0], [2.0, 0.0]]), "kept": np.ones((2, 1))}
    reference = Reference("s", ("a", "b"), {}, exact, exact, rule=Rule("kept", judge))
    results = [(image, {name: value[image : image + 1] for name, value in exact.items()}) for image in (0, 1, 1)]
    judged = parity._judged(reference, results, 1)
    assert judged.rule == RuleParity("kept", 3, 3, 6, 9)
    assert seen == [[1.0], [2.0], [2.0]]
    assert [output.name for output in judged.errors] == ["scores"]
    assert parity._judged(replace(reference, rule=None), results, 1).rule is None


def test_a_map_of_decisions_has_one_a_pixel() -> None:
    margins = {"mask": np.zeros((2, 3, 5)), "other": np.zeros((2, 7))}
    reference = Reference("s", ("a", "b"), {}, {"mask": np.zeros((2, 3, 5))}, {}, margins)
    assert parity._decisions(reference, None) == 3 * 5 + 7


def test_batches_depend_on_the_size_of_one_image() -> None:
    alone = Reference("s", ("a",), {"images": np.zeros((1, 3, 8, 8))}, {}, {})
    assert parity._sizes(alone, None) == (1, 2, 3, 8)
    assert parity._sizes(alone, 4) == (4,)


def test_a_position_along_one_axis_is_named_too() -> None:
    exact = np.zeros((1, 2, 4))  # [B, K, N]
    exact[:, 0] = 1.0
    found = exact.copy()
    found[0, 1, 2] = 9.0
    _, (flip,) = decided(Reference("s", ("a",), {}, {"row": exact}, {"row": exact}), {"row": found})
    assert flip.image == "a at 2"


def test_only_the_output_that_decides_is_centred_by_decision() -> None:
    """Two outputs alike, of scores whose level differs from image to image: 0 and 1, 100 and 101."""
    scores = np.array([[0.0, 1.0], [100.0, 101.0]])
    both = {"scores": scores, "map": scores}

    class Off:
        """A session whose second class of each image is off by a tenth."""

        evaluator = "a fake"

        def run(self, feeds: Feeds) -> Outputs:
            (index,) = feeds.values()
            return {name: value[index] + np.array([0.0, 0.1]) for name, value in both.items()}

    reference = Reference("s", ("a", "b"), {"index": np.arange(2)}, both, both)
    decided, other = parity.check(reference, Off(), 2, decision_axis=1).outputs
    assert decided.centred_db == pytest.approx(10 * np.log10(4 * 0.5**2 / (2 * 0.1**2)))
    assert other.centred_db == pytest.approx(10 * np.log10((2 * 50.5**2 + 2 * 49.5**2) / (2 * 0.1**2)))


def test_a_signal_without_noise_has_no_limit_and_ten_times_the_power_has_ten_db() -> None:
    signal = np.array([3.0, 1.0])
    assert parity.sqnr_db(signal, np.zeros(2)) == np.inf
    assert parity.sqnr_db(np.zeros(2), signal) == -np.inf
    assert parity.sqnr_db(signal, np.array([1.0, 0.0])) == pytest.approx(10.0)


def test_the_cosine_is_that_of_the_worst_image() -> None:
    expected = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert parity._cosine(np.array([[2.0, 0.0], [1.0, 1.0]]), expected) == pytest.approx(np.sqrt(0.5))


def test_one_score_is_held_against_zero() -> None:
    one = Reference("s", ("a",), {}, {"logits": np.ones((1, 1))}, {"logits": np.ones((1, 1))})
    assert decided(one, {"logits": np.full((1, 1), 0.5)}) == (1.0, ())
    share, (flip,) = decided(one, {"logits": np.full((1, 1), -0.5)})
    assert (share, flip.margin, flip.expected, flip.found) == (0.0, 1.0, 1, 0)


def test_a_shift_of_every_score_is_no_signal(reference: Reference) -> None:
    """Float16 keeps 1000 and a bit to half a unit: 70 dB of the scores, and little of what tells them apart."""
    shifted = {"logits": reference.exact["logits"] + 1000}
    moved = replace(reference, exact=shifted, rounded={"logits": shifted["logits"].astype(np.float16)})
    proof = parity.check(
        moved,
        Fake(moved, dict(enumerate(moved.rounded["logits"] - shifted["logits"]))),
        None,
        decision_axis=1,
        accepted=parity.accepted(FP16),
    )
    (output,) = proof.outputs
    assert output.passed
    assert output.sqnr_db > 60
    scores = reference.exact["logits"]
    spread = scores - scores.mean(axis=1, keepdims=True)
    assert proof.spread == pytest.approx(np.sqrt(np.mean(spread**2)))
    assert output.centred_db < FP16.least_db
    assert not proof.passed


def test_one_score_is_judged_as_it_is() -> None:
    """The head of one class, and one number an image: there is nothing to take the mean of."""
    one = np.array([[3.0], [3.5]])
    assert (parity.centred(one, 1) == one).all()
    assert (parity.centred(one[:1], 1) == one[:1]).all()
    assert (parity.centred(one[:, 0], None) == one[:, 0]).all()


def test_two_scores_are_centred() -> None:
    assert np.array_equal(parity.centred(np.array([[3.0, 1.0]]), 1), [[1.0, -1.0]])
    assert np.array_equal(parity.centred(np.array([[3.0, 1.0, 2.0], [9.0, 1.0, 2.0]]), 1), [[1, -1, 0], [5, -3, -2]])
    assert np.array_equal(parity.centred(np.array([[3.0, 1.0], [1.0, 3.0]]), None), [[1.0, -1.0], [-1.0, 1.0]])


def test_a_recipe_is_held_beside_the_precisions_own_bounds() -> None:
    recipe = default("onnx", "int8")
    found = parity.accepted(INT8, recipe)
    assert (found.min_sqnr_db, found.min_top1) == (recipe.min_sqnr_db, recipe.min_top1)
    assert (found.least_db, found.sure_margin) == (INT8.least_db, INT8.sure_margin)


def test_nan_fails(reference: Reference) -> None:
    with np.errstate(invalid="ignore"):
        proof = parity.check(reference, Fake(reference, {0: np.full(10, np.nan)}), None, decision_axis=1)
    assert not proof.passed


@pytest.mark.parametrize(
    "interface",
    [
        ModelIO(embed_preprocessing=True),
        ModelIO(softmax=True),
        ModelIO(features=True),
        ModelIO(batch=3, embed_preprocessing=True, softmax=True),
    ],
)
def test_every_interface_is_proved(interface: ModelIO, model: Model, tmp_path: Path) -> None:
    own = reference_of(model, bundled(), interface)
    session = backend.Session(export(model, tmp_path, interface), {})
    proof = parity.check(own, session, interface.batch, decision_axis=None if interface.features else 1)
    assert proof.passed
    assert [output.name for output in proof.outputs] == list(serve(model, interface).output_names)


def test_embedded_preprocessing_is_the_callers(model: Model, reference: Reference) -> None:
    embedded = reference_of(model, bundled(), ModelIO(embed_preprocessing=True))
    assert embedded.feeds["images"].dtype == np.uint8
    assert embedded.feeds["images"].shape == (8, 64, 64, 3)
    assert (
        np.abs(embedded.exact["logits"] - reference.exact["logits"]).max() < 1e-5
    )  # the caller's is rounded to float32


def test_a_short_image_set_repeats(model: Model, reference: Reference, artifact: Path) -> None:
    proof = parity.check(subset(reference, 2), backend.Session(artifact, {}), None, decision_axis=1)
    assert proof.passed
    assert proof.images == 2
