"""One rule for every place that is kept between runs."""

from pathlib import Path

import pytest

from slide_export.backends import isolation
from slide_export.benchmark import tune
from slide_export.core import cache
from slide_export.core.errors import WriteError
from slide_export.fleet import cache as of_a_fleet


@pytest.mark.parametrize("given", ["", "relative/cache"])
def test_the_cache_is_at_home_where_the_variable_names_no_absolute_place(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache.place("kept") == tmp_path / ".cache" / "slide-export" / "kept"


def test_every_place_that_is_kept_obeys_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ours = tmp_path / "slide-export"
    assert {isolation.root(), tune.remembered(), of_a_fleet.root()} == {
        ours / "environments",
        ours / "lowerings.json",
        ours / "fleet",
    }


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")

    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    with pytest.raises(WriteError, match="expected a home directory or an absolute path in XDG_CACHE_HOME"):
        cache.place("kept")
