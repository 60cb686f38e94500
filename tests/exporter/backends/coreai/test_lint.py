"""A program whose operations compute shapes is told so above a share of them."""

from pathlib import Path

import pytest

from slide_export.backends.coreai.asset import Asset
from slide_export.backends.coreai.lint import RULES, SHAPES, is_artifact
from slide_export.core.lint import judge


@pytest.mark.parametrize(("shapes", "found"), [(0, 0), (5, 0), (6, 1)])
def test_more_than_one_in_twenty_is_said(shapes: int, found: int) -> None:
    asset = Asset((), (), (("get_shape", shapes), ("gelu", 100 - shapes)))
    assert len(judge(RULES, asset, ("coreai",))) == found


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_each_operation_on_shapes_counts(name: str) -> None:
    (finding,) = judge(RULES, Asset((), (), ((name, 1), ("gelu", 1))), ("coreai",))
    assert (finding.severity, finding.confirmed) == ("hint", False)
    assert finding.found == "1 of 2 operations compute shapes, at each call"


def test_an_asset_is_a_folder_of_its_ending(tmp_path: Path) -> None:
    (tmp_path / "model.aimodel").mkdir()
    (tmp_path / "file.aimodel").touch()
    assert is_artifact(tmp_path / "model.aimodel")
    assert not is_artifact(tmp_path / "file.aimodel")
    assert not is_artifact(tmp_path)
