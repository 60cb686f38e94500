"""The commands and programs of README and of the manual.

README's are run in a shell, as a newcomer runs them, the manual's in this process, whose imports they share. The
tutorial is run once; every other page begins with its bundles, as a reader does who comes from it.
"""

import shutil
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, README, TUTORIAL, checkout, run, steps
from tests.kept import kept

AFTER = [page for page in PAGES if page != TUTORIAL and any(not step.slow for step in steps(page))]
SLOW = [page for page in PAGES if any(step.slow for step in steps(page))]


def name(page: Path) -> str:
    return page.stem


@pytest.fixture(scope="session")
def tutorial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the tutorial leaves."""

    def make(place: Path) -> None:
        """Run the page."""
        assert run(TUTORIAL, checkout(place)) >= 5

    return kept(tmp_path_factory, "tutorial", make)


def copied(tutorial: Path, directory: Path) -> Path:
    shutil.copytree(tutorial / "exported", checkout(directory / "work") / "exported")
    return directory / "work"


def test_readme_works_in_order(tmp_path: Path) -> None:
    kinds = [step.kind for step in steps(README)]
    assert kinds.count("console") >= 6
    assert "python" in kinds
    directory = checkout(tmp_path / "work")
    for step in steps(README):
        step.run_apart(directory)


def test_the_tutorial_ends_with_its_bundles(tutorial: Path) -> None:
    assert {path.name for path in (tutorial / "exported").iterdir()} == {"digits-onnx-fp32", "digits-openvino-fp32"}


@pytest.mark.parametrize("page", AFTER, ids=name)
def test_a_page_works_after_the_tutorial(page: Path, tutorial: Path, tmp_path: Path) -> None:
    assert run(page, copied(tutorial, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=name)
def test_what_takes_minutes_works_too(page: Path, tutorial: Path, tmp_path: Path) -> None:
    assert run(page, copied(tutorial, tmp_path), slow=True)
