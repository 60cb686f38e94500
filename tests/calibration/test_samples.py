"""Samples of several files come from folders, lists, the bundled photographs or in the order that they are named in."""

from pathlib import Path

import pytest
from PIL import Image

from slide_export.calibration import samples
from slide_export.calibration.evaluation_set import load
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import bundled, find
from slide_export.core.errors import CalibrationError
from slide_export.models import DataConfig
from slide_export.tasks import CLASSIFY, CLASSIFY_VIEWS, RESTORE

DATA = DataConfig(keep_aspect=False, scale=1.0)


def put(root: Path, *names: str) -> None:
    for place, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4), (place, place, place)).save(root / name)


def test_folders_hold_the_views(tmp_path: Path) -> None:
    put(tmp_path, "CC/1.png", "CC/2.png", "MLO/1.png", "MLO/2.png")
    images, told = samples.of_set(find(tmp_path), CLASSIFY_VIEWS)
    assert images.names() == ("CC/1.png", "CC/2.png")
    assert not told
    store = PictureStore(DATA, (4, 4), CLASSIFY_VIEWS.sample)
    assert [int(picture[0, 0, 0]) for picture in store.load(images.files[1])] == [1, 3]


def test_a_list_holds_the_views_by_its_headings(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png", "c.png", "d.png")
    (tmp_path / "list.csv").write_text("label,mlo,cc\n1,a.png,b.png\n0,c.png,d.png\n")
    images, told = samples.of_set(find(tmp_path / "list.csv"), CLASSIFY_VIEWS)
    assert images.names() == ("b.png", "d.png")
    store = PictureStore(DATA, (4, 4), CLASSIFY_VIEWS.sample)
    store.take(told)
    assert [int(picture[0, 0, 0]) for picture in store.load(tmp_path / "b.png")] == [1, 0]


@pytest.mark.parametrize(
    ("rows", "found"),
    [("b.png,\n", "expected cc,mlo in line 2"), ("a.png,b.png\na.png,c.png\n", "expected one row of a.png")],
)
def test_a_list_that_leaves_a_view_open_is_refused(tmp_path: Path, rows: str, found: str) -> None:
    put(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "list.csv").write_text(f"cc,mlo\n{rows}")
    with pytest.raises(CalibrationError, match=found):
        samples.of_list(tmp_path / "list.csv", CLASSIFY_VIEWS)


def test_the_bundled_photographs_make_pairs() -> None:
    images, told = samples.of_set(bundled(), CLASSIFY_VIEWS)
    assert images.files == bundled().files
    assert [second for _, second in told.values()] == [*images.files[1:], images.files[0]]
    assert samples.of_set(bundled(), CLASSIFY) == (bundled(), {})


def test_images_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "MLO/1.png")
    with pytest.raises(CalibrationError, match=r"expected images of cc and mlo in .* none that belong together"):
        samples.of_set(find(tmp_path), CLASSIFY_VIEWS)


def test_files_are_named_in_the_order_of_the_inputs() -> None:
    a, b, c, d = (Path(f"{name}.png") for name in "abcd")
    assert samples.of_files([a, b, c, d], CLASSIFY_VIEWS) == {a: (a, b), c: (c, d)}
    assert samples.of_files([a, b], CLASSIFY) == {a: (a,), b: (b,)}
    with pytest.raises(CalibrationError, match="of cc and mlo in that order, or in folders by equal names; found 3"):
        samples.of_files([a, b, c], CLASSIFY_VIEWS)


def test_another_second_view_of_the_same_first_one_is_refused() -> None:
    store = PictureStore(DATA, (4, 4), CLASSIFY_VIEWS.sample)
    store.take({Path("a.png"): (Path("a.png"), Path("b.png"))})
    with pytest.raises(CalibrationError, match=r"expected a\.png beside b\.png, as before; found c\.png"):
        store.take({Path("a.png"): (Path("a.png"), Path("c.png"))})


@pytest.mark.parametrize("layout", ["{label}/{view}/{name}", "{view}/{label}/{name}"])
def test_class_folders_stand_around_the_views_or_inside_them(tmp_path: Path, layout: str) -> None:
    for name, label in (("1.png", "benign"), ("2.png", "malignant")):
        put(tmp_path, *(layout.format(label=label, view=view, name=name) for view in ("CC", "MLO")))
    found = load(tmp_path, ("benign", "malignant"), 2, CLASSIFY_VIEWS.sample)
    assert found.classes is not None
    assert {file.name: label for file, label in zip(found.images.files, found.classes, strict=True)} == {
        "1.png": 0,
        "2.png": 1,
    }


def test_views_without_class_folders_have_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "CC/1.png", "MLO/1.png")
    found = load(tmp_path, (), 2, CLASSIFY_VIEWS.sample)
    assert found.classes is None
    assert [file.name for file in found.images.files] == ["1.png"]


def test_a_list_of_views_has_labels(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "list.csv").write_text("cc,mlo,label\na.png,b.png,malignant\n")
    found = load(tmp_path / "list.csv", ("benign", "malignant"), 2, CLASSIFY_VIEWS.sample, "cc")
    assert found.classes is not None
    assert found.classes.tolist() == [1]
    assert found.images.names() == ("a.png",)


def test_truths_have_their_images_names_in_the_folder_beside(tmp_path: Path) -> None:
    put(tmp_path, "noisy/1.png", "noisy/2.jpg", "clean/1.png", "clean/2.png", "other/3.png")
    images, _ = samples.of_set(find(tmp_path), RESTORE)
    found = samples.truths_of_folders(images.files, ("noisy", "clean"))
    assert {image.name: truth.name for image, truth in found.items()} == {"1.png": "1.png", "2.jpg": "2.png"}
    (tmp_path / "clean" / "1.png").unlink()
    with pytest.raises(CalibrationError, match=r"expected 1\.png in .*clean too, found none"):
        samples.truths_of_folders(images.files, ("noisy", "clean"))


def test_the_clean_images_of_a_pair_are_no_inputs_and_alone_they_are(tmp_path: Path) -> None:
    put(tmp_path, "noisy/1.png", "clean/1.png", "other/clean/2.png")
    images, _ = samples.of_set(find(tmp_path), RESTORE)
    assert images.names() == ("noisy/1.png", "other/clean/2.png")
    alone, _ = samples.of_set(find(tmp_path / "clean"), RESTORE)
    assert alone.names() == ("1.png",)


def test_truths_of_a_list(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "list.csv").write_text("clean,noisy\na.png,b.png\n")
    assert samples.truths_of_list(tmp_path / "list.csv", ("noisy", "clean")) == {tmp_path / "b.png": tmp_path / "a.png"}
    images, _ = samples.of_set(find(tmp_path / "list.csv"), RESTORE)
    assert images.names() == ("b.png",)
    assert samples.truths_of_list(tmp_path, ("noisy", "clean")) == {}
