"""What is taken for a package, and what is said of one that cannot be read."""

from pathlib import Path

import pytest

from slide_export.backends.coreml.lint import FACTS, is_artifact, lint_artifact
from slide_export.core.errors import BundleError


def test_a_package_is_told_by_its_ending_or_its_manifest(tmp_path: Path) -> None:
    assert is_artifact(tmp_path / "absent.mlpackage")
    assert not is_artifact(tmp_path)
    (tmp_path / "Manifest.json").write_text("{}")
    assert is_artifact(tmp_path)
    assert not is_artifact(tmp_path / "Manifest.json")


def test_what_is_no_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a Manifest\.json was expected"):
        lint_artifact(tmp_path)


def test_ranks_are_limited_to_5() -> None:
    assert {fact.rule: fact.limit for fact in FACTS if fact.limit} == {"rank": 5, "rank-view": 5}
