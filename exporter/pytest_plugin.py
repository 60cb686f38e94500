"""Parity in a team's own pytest suite. pytest loads this file at every start, so it imports nothing heavy.

    @pytest.mark.slide_export_bundle("exported/*")
    def test_parity(slide_export_bundle):
        slide_export_bundle.verify()

The test runs once for each bundle. Without the marker they are those of `--slide-export-bundle`, else those of the ini
option `slide_export_bundles`. Relative paths start from pytest's root directory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .core.proof import ParityReport

FIXTURE = MARKER = "slide_export_bundle"
OPTION, INI = "--slide-export-bundle", "slide_export_bundles"
ASK = f"""expected bundles for the fixture {FIXTURE}, found none named: mark the test with \
@pytest.mark.{MARKER}("exported/*"), or give {OPTION} or the ini option {INI}"""


@dataclass(frozen=True)
class BundleUnderTest:
    """A bundle that a test is about.

    Attributes:
        root: where relative paths start from.
    """

    path: Path
    root: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """What the bundle says of itself."""
        content: dict[str, Any] = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        return content

    def verify(self, against: Path | str | None = None) -> ParityReport:
        """Returns a fresh proof of the bundle.

        Args:
            against: a checkpoint to derive the reference from; the golden file has it otherwise.

        Raises:
            AssertionError: the bundle is not what it claims to be, or cannot be proved here; with its numbers.
        """
        __tracebackhide__ = True
        from .verification.batch import VerifyOptions, prove_one
        from .verification.numbers import as_text

        found = prove_one(self.path, VerifyOptions(None if against is None else self.root / against))
        if not found.passed or found.proof is None:
            numbers = as_text(found)
            raise AssertionError(f"{self.path} {found.verdict}: {found.message}" + (f"\n{numbers}" if numbers else ""))
        return found.proof


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds where bundles are."""
    said = f"bundles for the fixture {FIXTURE}: directories, or globs"
    parser.getgroup("slide-export").addoption(
        OPTION, action="append", default=[], metavar="PATH", help=f"{said} in quotes; repeatable."
    )
    parser.addini(INI, f"{said}, one a line.", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line("markers", f"{MARKER}(*paths): bundles, or globs, that the test runs on, each in turn.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that takes the fixture once for each bundle."""
    if FIXTURE not in metafunc.fixturenames:
        return
    from .verification.find import find

    root = metafunc.config.rootpath
    found = find(_patterns(metafunc), root)
    names = [path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path) for path in found]
    # With nothing named one test remains, which fails: an empty list would be skipped.
    metafunc.parametrize(FIXTURE, found or [None], ids=names or ["none"], indirect=True)


def _patterns(metafunc: pytest.Metafunc) -> list[str]:
    marked = [str(path) for mark in metafunc.definition.iter_markers(MARKER) for path in mark.args]
    config = metafunc.config
    return marked or list(config.getoption(OPTION)) or list(config.getini(INI))


@pytest.fixture
def slide_export_bundle(request: pytest.FixtureRequest) -> BundleUnderTest:
    """A bundle of slide-export; its `verify()` proves it again, against a checkpoint too."""
    path: Path | None = request.param
    if path is None:
        pytest.fail(ASK, pytrace=False)
    if not (path / "manifest.json").is_file():
        pytest.fail(f"expected a bundle with a manifest.json at {path}, found none", pytrace=False)
    return BundleUnderTest(path, request.config.rootpath)
