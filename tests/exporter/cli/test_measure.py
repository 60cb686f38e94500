"""Where a result may be written is judged before anything is measured."""

from pathlib import Path

import pytest

from slide_export.cli import main as cli


@pytest.mark.parametrize(
    ("place", "said"),
    [(".", "is a directory"), ("nowhere/result.json", "expected a file in a directory that exists for the result")],
)
def test_a_result_is_a_file_in_a_directory_that_exists(
    place: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.run(["bench", "bundle", "--result", place]) == 2
    assert said in capfd.readouterr().err


def test_a_pair_names_a_variant_and_its_checkpoint(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["compare", "--variants", "swin_tiny,pvt_tiny", "--checkpoint", "swin_tiny"]) == 2
    assert "expected --checkpoint VARIANT=PATH" in capfd.readouterr().err


def test_a_report_needs_a_result(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report"]) == 2
    assert cli.run(["report", str(tmp_path / "none.json")]) == 2
    assert "none.json" in capfd.readouterr().err
