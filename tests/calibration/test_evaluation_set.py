"""Classes come from folders or a list, in the order of the model's head, or are refused by name."""

from pathlib import Path

import pytest
from PIL import Image

from slide_export.calibration.evaluation_set import load
from slide_export.core.errors import CalibrationError


def put(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(root / name)


def test_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.png", "cat/2.png", "cat/deep/3.png")
    found = load(tmp_path, (), 2)
    assert found.classes is not None
    assert dict(zip(found.images.names(), found.classes.tolist(), strict=True)) == {
        "cat/2.png": 0,
        "cat/deep/3.png": 0,
        "dog/1.png": 1,
    }


def test_labels_decide_the_order_and_allow_a_part_of_the_classes(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.png", "cat/2.png")
    found = load(tmp_path, ("dog", "emu", "cat"), 3)
    assert found.classes is not None
    assert found.classes.tolist() == [2, 0]
    assert found.names == ("dog", "", "cat")


def test_a_folder_that_is_no_class_of_the_model_is_named(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.png", "cta/2.png")
    with pytest.raises(CalibrationError, match="found 'cta': did you mean 'cat'"):
        load(tmp_path, ("dog", "cat"), 2)


def test_numbers_are_classes(tmp_path: Path) -> None:
    put(tmp_path, "3/1.png", "7/2.png")
    found = load(tmp_path, (), 10)
    assert found.classes is not None
    assert found.classes.tolist() == [3, 7]


def test_a_number_out_of_range_is_named(tmp_path: Path) -> None:
    put(tmp_path, "3/1.png", "10/2.png")
    with pytest.raises(CalibrationError, match=r"from 0 to 9 in the folder 10 of .* found 10 \(is it counted from 1"):
        load(tmp_path, (), 10)


def test_numbers_with_two_orders_are_refused(tmp_path: Path) -> None:
    put(tmp_path, *(f"{n}/1.png" for n in range(11)))
    with pytest.raises(CalibrationError, match="class 2 is 10 as text and 2 by number; give the order"):
        load(tmp_path, (), 11)
    assert load(tmp_path, tuple(map(str, range(11))), 11).names == tuple(map(str, range(11)))


def test_another_number_of_folders_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.png", "cat/2.png")
    with pytest.raises(CalibrationError, match=r"expected 10 class folders .* found 2"):
        load(tmp_path, (), 10)
    put(tmp_path, "3/1.png")
    with pytest.raises(CalibrationError, match=r"expected 10 class folders .* found 3"):
        load(tmp_path, (), 10)


def test_images_of_which_none_belongs_to_another_are_refused(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.png", "cat/2.png")
    with pytest.raises(CalibrationError, match=r"expected images that belong together in .*, found none"):
        load(tmp_path, (), 2, lambda _: ())


def test_a_directory_without_folders_has_no_classes(tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png")
    assert load(tmp_path, (), 10).classes is None
    put(tmp_path, "cat/1.png")
    with pytest.raises(CalibrationError, match=r"found 1\.png outside"):
        load(tmp_path, (), 10)


def test_a_list_by_number_and_by_name(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", "2.png")
    (tmp_path / "list.csv").write_text("file,label\na/1.png,1\n\n2.png,cat\n")
    found = load(tmp_path / "list.csv", ("dog", "emu", "cat"), 3)
    assert found.classes is not None
    assert found.classes.tolist() == [1, 2]
    assert found.images.names() == ("a/1.png", "2.png")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1.png,10", r"from 0 to 9 in line 2 of .*list\.csv, found 10 \(is it counted from 1"),
        ("1.png,-1", "found -1"),
        ("1.png,cat", "expected a class number in line 2 .* names need --labels"),
        ("absent.png,1", r"expected an image at .*absent\.png, as line 2"),
        ("1.png", "expected file,label in line 2"),
        ("../1.png,1", "expected an image at|expected a file below"),
    ],
)
def test_a_wrong_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "list.csv").write_text(f"1.png,0\n{line}\n")
    with pytest.raises(CalibrationError, match=message):
        load(tmp_path / "list.csv", (), 10)


def test_an_empty_or_absent_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("file,label\n")
    with pytest.raises(CalibrationError, match="found none"):
        load(tmp_path / "empty.csv", (), 10)
    with pytest.raises(CalibrationError, match="cannot be read"):
        load(tmp_path / "absent.csv", (), 10)


def test_the_digest_is_of_names_and_classes(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.png", "cat/2.png")
    one, other = load(tmp_path, ("dog", "cat"), 2), load(tmp_path, ("cat", "dog"), 2)
    assert one.digest() == load(tmp_path, ("dog", "cat"), 2).digest()
    assert one.digest() != other.digest()


def test_a_relative_list_may_name_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.png")
    (tmp_path / "list.csv").write_text(f"{tmp_path / 'a/1.png'},1\n")
    monkeypatch.chdir(tmp_path)
    found = load(Path("list.csv"), (), 3)
    assert found.images.names() == ("a/1.png",)
    (tmp_path / "list.csv").write_text("a/1.png,1\n")
    assert found.digest() == load(Path("list.csv"), (), 3).digest()


def test_folders_may_be_numbers_beside_labels(tmp_path: Path) -> None:
    put(tmp_path, "2/1.png", "dog/2.png")
    found = load(tmp_path, ("dog", "emu", "cat"), 3)
    assert found.classes is not None
    assert found.classes.tolist() == [2, 0]


def test_a_label_of_two_classes_is_refused_and_its_number_is_not(tmp_path: Path) -> None:
    put(tmp_path, "crane/1.png")
    with pytest.raises(CalibrationError, match=r"expected one class called 'crane', .* found 2 .* its number, 0 or 2"):
        load(tmp_path, ("crane", "dog", "crane"), 3)
    (tmp_path / "list.csv").write_text("crane/1.png,2\n")
    found = load(tmp_path / "list.csv", ("crane", "dog", "crane"), 3)
    assert found.classes is not None
    assert found.classes.tolist() == [2]


def test_a_list_may_have_other_headings_in_any_order(tmp_path: Path) -> None:
    put(tmp_path, "1.png")
    (tmp_path / "list.csv").write_bytes("id,Class Name,Filename\n7,cat,1.png\n".encode("utf-16"))
    found = load(tmp_path / "list.csv", ("dog", "cat"), 2)
    assert found.classes is not None
    assert (found.images.names(), found.classes.tolist()) == (("1.png",), [1])


def test_a_row_that_is_there_twice_counts_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "1.png", "2.png")
    (tmp_path / "list.csv").write_text("1.png,0\n2.png,1\n./1.png,0\n")
    assert load(tmp_path / "list.csv", (), 2).images.names() == ("1.png", "2.png")
    assert caplog.messages == ["left out 1 rows of list.csv that name a file again"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1.png,0\n1.png,1\n", r"expected one class of 1\.png .* found 0 in line 1 and 1 in line 2"),
        ('1.png,"0\n2.png,1\n', "cannot be read: unexpected end of data"),
        ('1.png,"0\n2.png,1"\n', "found a quote that is open until line 2"),
        (f"1.png,{'9' * 5000}\n", "expected a class number in line 1 .* found '999+…'"),
        ("1.png,²\n", "expected a class number in line 1"),
        ("bild,klasse\n1.png,0\n", r"line 1 of .*headings that are known: file,label"),
        ("_,label\n1.png,0\n", r"line 1 of .*headings that are known: file,label"),
        ("file,label\n1.png\n", r"expected file,label in line 2 of .*, found '1\.png'"),
    ],
)
def test_a_list_that_contradicts_itself_or_has_no_end_is_refused(rows: str, message: str, tmp_path: Path) -> None:
    put(tmp_path, "1.png", "2.png")
    (tmp_path / "list.csv").write_text(rows)
    with pytest.raises(CalibrationError, match=message):
        load(tmp_path / "list.csv", (), 2)
