"""Every name that README and the manual use exists: options, make targets, targets, forms, links."""

import re
import tomllib
from pathlib import Path

import click
import pytest

from slide_export import pytest_plugin
from slide_export.backends import registry
from slide_export.cli.main import cli
from slide_export.inference.forms import FORMS, SAMPLINGS
from slide_export.models import FAMILIES
from tests.docs.pages import MANUAL, README, ROOT, TEXTS, TUTORIAL

FOREIGN = {
    *("--no-install-recommends", "--index-url", "--editable"),  # of apt-get and pip
    *("--protocol", "--port", "--tls-ca-file", "--tls-cert", "--tls-key"),  # of dask
}
MOST_LINES = 200


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_readme_is_the_first_minute() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_every_option_exists(page: Path) -> None:
    inner = [
        one
        for command in cli.commands.values()
        if isinstance(command, click.Group)
        for one in command.commands.values()
    ]
    options = [option for command in (*cli.commands.values(), *inner) for option in command.params]
    known = {name for option in options for name in (*option.opts, *option.secondary_opts)}
    used = set(re.findall(r"--[a-z][a-z0-9-]+", page.read_text()))
    assert used <= known | {pytest_plugin.OPTION, "--help"} | FOREIGN


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_every_make_target_exists(page: Path) -> None:
    targets = set(re.findall(r"(?:`|^)make ([a-z][\w-]*)", page.read_text(), flags=re.MULTILINE))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test", "slow", "bench"} <= targets or page != README
    assert all(re.search(rf"^{target}:", makefile, flags=re.MULTILINE) for target in targets)


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)(?:#[\w-]+)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_readme_has_a_row_for_each_target_with_its_precisions() -> None:
    rows = re.findall(r"^\| \[`(\w+)`\]\(\S+\) \| .+? \| ([\w, -]+) \|", README.read_text(), flags=re.MULTILINE)
    assert {target: tuple(precisions.split(", ")) for target, precisions in rows} == {
        target: tuple(registry.load(target).PRECISIONS) for target in registry.names()
    }


def test_the_manual_has_a_page_for_each_target_and_a_section_for_each_family() -> None:
    assert {page.stem for page in (MANUAL / "how-to").glob("*.md")} >= set(registry.names())
    sections = re.findall(r"\{\{ variants (\w+) \}\}", (MANUAL / "reference" / "models.md").read_text())
    assert set(sections) == {family.name for family in FAMILIES}


def test_the_manual_names_every_form() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", (MANUAL / "explanation" / "forms.md").read_text(), flags=re.MULTILINE)
    assert rows == [*FORMS, *SAMPLINGS]


def test_every_extra_of_a_target_is_in_all() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(everything.removeprefix("slide-export[").removesuffix("]").split(",")) == set(registry.names())


def test_the_tutorial_shows_an_image_that_exists() -> None:
    (image,) = re.findall(r'Image\.open\("([^"]+)"\)', TUTORIAL.read_text())
    assert (ROOT / image).is_file()
