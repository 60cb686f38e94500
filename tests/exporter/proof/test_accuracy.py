"""The accuracy gate on a real export: what is fed, what is counted, what is refused."""

import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from slide_export import api
from slide_export.bundle.manifest import load
from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import ImageSet, bundled, read
from slide_export.cli import main as cli
from slide_export.core.artifact import Feeds, ModelIO, Outputs
from slide_export.core.errors import AccuracyError, CalibrationError, RequestError
from slide_export.core.model import Model
from slide_export.core.request import AccuracyGoal, ExportRequest
from slide_export.inference.preprocess import normalise
from slide_export.inference.served import ServedModel, serve
from slide_export.proof import accuracy as evaluation
from slide_export.tasks import DETECT
from slide_export.tasks.restore import RESTORE
from slide_export.verification import bundle as verification
from slide_export.workflows import export as pipeline
from tests.calibration.test_quantization import outlier
from tests.conftest import SMALL

IMAGES = 40


@pytest.fixture(scope="module")
def folders(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real pictures cut from photographs, each in the folder of the class that the trained model sees in it."""
    root, rng = tmp_path_factory.mktemp("eval"), np.random.default_rng(0)
    photographs = [Image.open(file).convert("RGB") for file in bundled().files]
    for index in range(IMAGES):
        whole = photographs[index % len(photographs)]
        side = int(rng.integers(80, 200))
        left, top = (int(rng.integers(0, size - side)) for size in whole.size)
        whole.crop((left, top, left + side, top + side)).save(root / f"{index}.png")
    files = tuple(sorted(root.glob("*.png")))
    scores = evaluation.of_pytorch(serve(model, ModelIO()))((read(files, model.data, model.image_size),))["logits"]
    for file, answer in zip(files, scores.argmax(axis=1), strict=True):
        (root / str(answer)).mkdir(exist_ok=True)
        file.rename(root / str(answer) / file.name)
    return root


@dataclass(frozen=True)
class Lossy:
    """An export that was refused for its accuracy, where it is kept, and what was said."""

    recipe: ExportRequest
    rejected: Path
    message: str


def store(model: Model) -> PictureStore:
    return PictureStore(model.data, model.image_size)


class Fake:
    """A session that answers with the size of what it was fed."""

    evaluator = "a fake"

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def run(self, feeds: Feeds) -> Outputs:
        self.sizes.append(len(feeds["images"]))
        return {"logits": feeds["images"].reshape(len(feeds["images"]), -1)[:, :10].astype(np.float32)}


@pytest.mark.parametrize(("batch", "sizes"), [(None, [8, 8, 5]), (4, [4] * 6)])
def test_batches_are_those_that_the_artifact_takes(batch: int | None, sizes: list[int], model: Model) -> None:
    session, served = Fake(), serve(model, ModelIO(batch=batch, embed_preprocessing=True))
    pictures = np.random.default_rng(0).integers(0, 255, (21, 64, 64, 3), np.uint8)
    found = evaluation.of_session(session, served)((pictures,))["logits"]
    assert session.sizes == sizes
    assert (found == pictures.reshape(21, -1)[:, :10]).all()


@pytest.mark.parametrize(("cols", "sizes"), [(512, [8, 1]), (513, [3, 3, 3])])
def test_the_largest_batch_that_was_proved_depends_on_the_input(cols: int, sizes: list[int], model: Model) -> None:
    """Eight pictures of 512x512 in three colours are the most that is proved of a dynamic batch."""
    large = replace(model, config=replace(SMALL, image_size=(512, cols)))
    session = Fake()
    pictures = np.zeros((9, 4, 4, 3), np.uint8)
    evaluation.of_session(session, serve(large, ModelIO(embed_preprocessing=True)))((pictures,))
    assert session.sizes == sizes


def restoring(model: Model) -> ServedModel:
    """What lists images asks a served model for its task alone."""
    return replace(serve(model, ModelIO()), task=RESTORE)


def pictures_in(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True)
    files = [folder / f"{index}.png" for index in range(count)]
    for file in files:
        Image.new("RGB", (4, 4)).save(file)
    return files


def test_the_store_learns_the_samples_of_a_list(model: Model, tmp_path: Path) -> None:
    (file,) = pictures_in(tmp_path / "a", 1)
    (tmp_path / "list.csv").write_text("images,label\na/0.png,3\n")
    kept = store(model)
    found = evaluation.list_images(AccuracyGoal(tmp_path / "list.csv"), serve(model, ModelIO()), kept)
    assert found.classes is not None
    assert found.classes.tolist() == [3]
    assert kept.told == {file: (file,)}


def test_the_store_learns_the_samples_of_a_list_without_classes(model: Model, tmp_path: Path) -> None:
    (file,) = pictures_in(tmp_path / "a", 1)
    (clean,) = pictures_in(tmp_path / "b", 1)
    (tmp_path / "list.csv").write_text("noisy,clean\na/0.png,b/0.png\n")
    kept = store(model)
    found = evaluation.list_images(AccuracyGoal(tmp_path / "list.csv"), restoring(model), kept)
    assert (found.truths, kept.told) == ({file: clean}, {file: (file,)})


@pytest.mark.parametrize(("paired", "kept"), [(0, 3), (1, 1), (2, 2), (3, 3)])
def test_images_without_a_truth_are_left_out_beside_one_that_has(
    paired: int, kept: int, model: Model, tmp_path: Path
) -> None:
    """Without any truth all images stay: their outputs are compared."""
    if paired:
        noisy = pictures_in(tmp_path / "noisy", paired)
        pictures_in(tmp_path / "clean", paired)
    if paired < 3:
        pictures_in(tmp_path / "more", 3 - paired)
    found = evaluation.list_images(AccuracyGoal(tmp_path), restoring(model), store(model))
    assert (len(found.images.files), len(found.truths)) == (kept, paired)
    assert not paired or set(found.images.files) == set(noisy)
    if not paired:
        with pytest.raises(RequestError, match=r"max_drop needs scores of classes, noisy and clean of each image are"):
            evaluation.list_images(AccuracyGoal(tmp_path, max_drop=1.0), restoring(model), store(model))


def test_a_list_of_boxes_lists_its_images_itself(model: Model, tmp_path: Path) -> None:
    (file,) = pictures_in(tmp_path / "images", 1)
    listed = tmp_path / "boxes.JSON"
    listed.write_text(
        json.dumps(
            {"images": [{"id": 7, "file_name": "0.png", "width": 4, "height": 4}], "annotations": [], "categories": []}
        )
    )
    detecting = replace(serve(model, ModelIO()), task=DETECT)
    found = evaluation.list_images(AccuracyGoal(listed), detecting, store(model))
    assert (found.images.files, found.truths) == ((file,), {file: listed / "7"})
    (tmp_path / "images").rename(tmp_path / "pictures")
    assert evaluation.list_images(AccuracyGoal(tmp_path), detecting, store(model)).truths == {}  # a folder is no list


def test_an_export_says_what_it_loses(checkpoint: Path, folders: Path, tmp_path: Path) -> None:
    made = pipeline.export(ExportRequest(checkpoint, precision="fp16", out=tmp_path, accuracy=AccuracyGoal(folders)))
    accuracy = made.manifest.accuracy
    assert accuracy is not None
    assert accuracy.pytorch is not None
    assert accuracy.artifact is not None
    assert accuracy.pytorch.top1 == 1.0
    assert accuracy.images == IMAGES
    assert accuracy.lost == round(IMAGES * (1 - accuracy.artifact.top1))
    assert accuracy.sentence == evaluation.sentence(asdict(accuracy))
    assert "| PyTorch | 100.00% |" in (made.path / "report.md").read_text()
    assert verification.measure_accuracy(made.path, checkpoint, AccuracyGoal(folders)).passed


@pytest.fixture(scope="module")
def lossy(checkpoint: Path, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Lossy:
    """Exports a model in 8 bits that cannot hold it, by a recipe whose proof accepts any noise that the 8 bits have."""
    place = tmp_path_factory.mktemp("lossy")
    (place / "any.yaml").write_text(
        "library: onnxruntime\nactivations: asymmetric\nper_channel: false\nmin_sqnr_db: 0\nmin_top1: 0\n"
    )
    recipe = ExportRequest(
        outlier(checkpoint, place),
        precision="int8",
        form="grouped",
        images=bundled().root,
        out=place,
        quantization_recipe=place / "any.yaml",
        accuracy=AccuracyGoal(folders),
    )
    with pytest.raises(AccuracyError) as refused:
        pipeline.export(recipe)
    return Lossy(recipe, place / "outlier-onnx-int8.rejected", str(refused.value))


def test_an_artifact_that_loses_too_much_is_rejected_and_kept(lossy: Lossy) -> None:
    """It equals the quantized model, so the proof passes; the gate compares with the trained one."""
    manifest = load(lossy.rejected).manifest
    assert manifest.parity.passed
    assert manifest.accuracy is not None
    assert not manifest.accuracy.passed
    assert "expected a drop of at most 1 points of top-1, found top-1" in lossy.message
    assert f"kept as {lossy.rejected}" in lossy.message
    assert "REJECTED: beyond the goal" in (lossy.rejected / "report.md").read_text()


def test_verify_refuses_what_loses_too_much(lossy: Lossy, folders: Path) -> None:
    with pytest.raises(AccuracyError, match="a drop of at most 2 points"):
        verification.measure_accuracy(lossy.rejected, lossy.recipe.checkpoint, AccuracyGoal(folders, max_drop=2))
    with pytest.raises(AccuracyError, match="expected at least 20 dB, found top-1"):
        verification.measure_accuracy(lossy.rejected, lossy.recipe.checkpoint, AccuracyGoal(folders, 100, 20))


def test_broken_files_stop_neither_proof_nor_evaluation(checkpoint: Path, folders: Path, tmp_path: Path) -> None:
    root = shutil.copytree(folders, tmp_path / "eval")
    first = sorted(root.rglob("*.png"))[0]
    first.write_bytes(first.read_bytes()[:-2000])
    goal = AccuracyGoal(root)
    made = pipeline.export(ExportRequest(checkpoint, form="grouped", out=tmp_path, images=root, accuracy=goal))
    assert made.manifest.parity.images == 8
    accuracy = made.manifest.accuracy
    assert accuracy is not None
    assert (accuracy.images, accuracy.skipped) == (IMAGES - 1, 1)
    assert f"on {IMAGES - 1} images (eval, 1 that cannot be decoded left out)" in accuracy.sentence


def test_swapped_folders_stop_an_export_before_it_begins(checkpoint: Path, folders: Path, tmp_path: Path) -> None:
    first, second = sorted(folders.iterdir(), key=lambda folder: len(list(folder.iterdir())))[-2:]
    listed = "".join(
        f"{file.name},{ {first: second, second: first}.get(file.parent, file.parent).name }\n"
        for file in sorted(folders.rglob("*.png"))
    )
    for file in folders.rglob("*.png"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "list.csv").write_text(listed)
    with pytest.raises(CalibrationError, match="in the order of the model's head, found 2 in another order"):
        pipeline.export(ExportRequest(checkpoint, out=tmp_path / "out", accuracy=AccuracyGoal(tmp_path / "list.csv")))
    assert not (tmp_path / "out").exists()


def test_stage_maps_have_no_classes(model: Model, folders: Path) -> None:
    data = evaluation.open_images(AccuracyGoal(folders), serve(model, ModelIO(features=True)), store(model))
    assert data.classes is None


def test_a_drop_of_stage_maps_is_refused(model: Model, folders: Path) -> None:
    goal = AccuracyGoal(folders, max_drop=1.0)
    with pytest.raises(RequestError, match="max_drop needs scores of classes, features has none"):
        evaluation.open_images(goal, serve(model, ModelIO(features=True)), store(model))


DOUBT = "; 100 images cannot rule out more than 1 points, about 280 like them would"


@pytest.mark.parametrize(
    ("drop", "interval", "enough", "said"),
    [
        (0.0, (-2.72, 2.72), 280, DOUBT),
        (0.0, (-0.5, 0.5), None, ""),
        (2.0, (-1.4, 5.3), None, ""),
        (1.0, (-1.4, 3.4), 280, DOUBT),  # a drop of just the limit passes
        (0.0, (-1.0, 1.0), 280, ""),  # and so does an interval that ends there
        (0.0, (-1.0, 1.01), None, "; 100 images cannot rule out more than 1 points"),
    ],
)
def test_a_goal_that_the_images_cannot_show_is_said(
    drop: float, interval: tuple[float, float], enough: int | None, said: str
) -> None:
    report = {
        "images": 100, "source": "eval", "pytorch": {"top1": 0.9}, "artifact": {"top1": 0.9}, "p_value": 1.0,
        "drop": drop, "interval": interval, "max_drop": 1.0, "enough": enough,
    }  # fmt: skip
    assert evaluation.sentence(report).endswith(f"p = 1){said}")


def test_without_classes_outputs_are_compared(model: Model) -> None:
    data = EvaluationSet(ImageSet("photographs", bundled().root, bundled().files))
    served = serve(model, ModelIO(embed_preprocessing=True))
    report = evaluation.evaluate(
        evaluation.of_pytorch(served), served, Fake(), data, AccuracyGoal(Path()), store(model)
    )
    assert not report.passed
    assert report.pytorch is None
    same = replace(report, sqnr_db=30.0, drop=0.0)
    assert same.passed
    assert "top-1 agreement with PyTorch" in evaluation.sentence(asdict(report))


def test_a_limit_without_images_is_refused(checkpoint: Path) -> None:
    with pytest.raises(RequestError, match="expected evaluation images"):
        api.export(checkpoint, max_drop=1.0)


def test_the_command_line_measures_at_export_and_at_verify(
    checkpoint: Path, folders: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--eval", str(folders), "--max-drop", "0.5"]
    assert cli.run([str(checkpoint), "--out", str(tmp_path), *arguments]) == 0
    assert "a drop of 0.00 points" in capfd.readouterr().err
    bundle = str(tmp_path / "small-onnx-fp32")
    assert cli.run(["verify", bundle, "--against", str(checkpoint), "--json", *arguments]) == 0
    assert json.loads(capfd.readouterr().out)["bundles"][0]["accuracy"]["pytorch"]["top1"] == 1.0
    assert cli.run(["verify", bundle, *arguments]) == 2
    assert "expected --against with --eval" in capfd.readouterr().err


def test_pytorch_is_scored_in_float32(model: Model) -> None:
    pictures = read(bundled().files[:2], model.data, model.image_size)
    found = evaluation.of_pytorch(serve(model, ModelIO()))((pictures,))["logits"]
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(normalise(pictures, model.data)))
    assert found.dtype == np.float32
    assert (found == expected.numpy()).all()
