"""The manual is built without a warning, from the code and the measurements as they are."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slide_export import api
from slide_export.bundle.manifest import json_schema
from slide_export.cli.main import cli
from slide_export.core import errors
from tests.docs.pages import ROOT

DOCS = ROOT / "docs"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built manual; a warning is an error."""
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-f", DOCS / "mkdocs.yml", "-d", out]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    return out


def page(site: Path, path: str) -> str:
    return (site / path / "index.html").read_text()


def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    text = page(site, "reference/command-line")
    for name, command in cli.commands.items():
        assert f">{name}" in text or name == "doctor"
        for option in command.params:
            hidden = getattr(option, "hidden", False)
            longest = max(option.opts, key=len)
            assert (f"{longest}" in text) or hidden or not longest.startswith("--"), longest


def test_every_verb_and_every_error_is_in_the_reference(site: Path) -> None:
    text = page(site, "reference/python")
    assert all(f'id="slide_export.api.{name}"' in text for name in api.__all__)
    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and name.endswith("Error")}
    assert all(f'id="slide_export.core.errors.{name}"' in text for name in raised)


def test_the_exit_codes_are_the_errors_own(site: Path) -> None:
    rows = re.findall(r"<td>(\d+)</td>\s*<td><code>(\w+)</code></td>", page(site, "reference/exit-codes"))
    assert {name: int(code) for code, name in rows} == {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, errors.SlideExportError)
        and value is not errors.SlideExportError
    }


def test_no_mark_is_left_and_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text()
        assert "{{" not in text, path
        assert re.findall(r'<(?:script|img|link)[^>]+(?:src|href)="https?://[^"]+"', text) == [], path


def test_a_figure_has_a_bar_for_each_measurement(site: Path) -> None:
    text = page(site, "explanation/forms")
    values = re.findall(r'class="value"[^>]*>([\d.]+) ms<', text)
    results = (ROOT / "tests" / "benchmarks" / "RESULTS.md").read_text()
    assert len(values) == 16  # eight forms in two runtimes
    assert all(re.search(rf"\b{re.escape(value)}", results) for value in values)


def test_the_manifest_page_names_fields_that_exist() -> None:
    text = (DOCS / "manual" / "reference" / "manifest.md").read_text()
    known = set(json_schema()["properties"]) | {"embedded", "artifact.path", "artifact.settings", "model.properties"}
    named = set(re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| [a-z ]+ \|.*\|$", text, re.MULTILINE))))
    assert named
    assert named <= known
