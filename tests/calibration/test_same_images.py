"""Images that are calibrated on and judged on, whatever they are called."""

import zipfile
from pathlib import Path

from PIL import Image

from slide_export.calibration.images import find, from_directory
from slide_export.calibration.quantization import calibration_images, with_overlap
from slide_export.calibration.report import CalibrationReport
from slide_export.calibration.same_images import Others


def pictures(root: Path, count: int) -> Path:
    """Different pictures, some of them of one size in bytes."""
    root.mkdir()
    for index in range(count):
        Image.new("RGB", (4, 4), (index, 2 * index, 255 - index)).save(root / f"{index:02d}.png")
    return root


def test_copies_links_and_members_of_archives_are_the_same(tmp_path: Path) -> None:
    root = pictures(tmp_path / "set", 6)
    other = tmp_path / "other"
    other.mkdir()
    (other / "link.png").symlink_to(root / "01.png")
    (other / "copy.png").write_bytes((root / "02.png").read_bytes())
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.write(root / "03.png", "a.png")
    same = Others(from_directory(other), find(tmp_path / "other.zip"))
    images = from_directory(root)
    assert [file.name for file in same.among(images)] == ["01.png", "02.png", "03.png"]
    assert [file.name for file in same.without(images).files] == ["00.png", "04.png", "05.png"]
    assert Others(images).among(find(tmp_path / "other.zip")) == (tmp_path / "other.zip" / "a.png",)


def test_copies_of_the_evaluation_are_not_calibrated_on_where_others_are_left(tmp_path: Path) -> None:
    images, judged = from_directory(pictures(tmp_path / "set", 60)), tmp_path / "eval"
    judged.mkdir()
    for file in images.files[:20]:
        (judged / f"copy-{file.name}").write_bytes(file.read_bytes())
    proof, evaluation = images.spread(4), from_directory(judged)
    chosen = calibration_images(images, proof, evaluation, 300, 0)
    assert {file.name for file in chosen.files} == {file.name for file in images.files[20:]} - {"30.png", "45.png"}
    found = with_overlap(CalibrationReport("set", 60, "", ()), images, proof, evaluation)
    assert found is not None
    assert "found 20 of 60 among them" in found.findings[1].message
