"""An install asks once, in words of what it takes; a script says yes beforehand."""

import sys
from pathlib import Path
from typing import Any

import pytest

from slide_export.cli import main as cli
from slide_export.cli.views import environments


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The targets that were installed; none is."""
    asked: list[str] = []

    def install(name: str, **_options: Any) -> Path:
        asked.append(name)
        return Path("made")

    monkeypatch.setattr(cli.api, "install_target", install)
    monkeypatch.setattr(environments, "question", lambda _target: "It takes 2 GiB.")
    return asked


@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_an_action_needs_a_target(action: str, installed: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["targets", action]) == 2
    assert f"expected a target to {action}, found none" in capfd.readouterr().err
    assert installed == []


def test_without_a_terminal_nobody_can_answer(installed: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["targets", "install", "litert"]) == 2
    assert "It takes 2 GiB. Nobody can answer here: say so with --yes" in capfd.readouterr().err
    assert installed == []


def test_a_script_says_yes(installed: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["targets", "install", "litert", "--yes"]) == 0
    assert (installed, capfd.readouterr().out) == (["litert"], "made\n")


def test_what_is_made_already_is_not_asked_about(
    installed: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environments, "question", lambda _target: None)
    assert cli.run(["targets", "install", "litert"]) == 0
    assert installed == ["litert"]


@pytest.mark.parametrize(("answer", "names"), [(True, ["litert"]), (False, [])])
def test_who_sits_at_a_terminal_answers(
    answer: bool,
    names: list[str],
    installed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("click.confirm", lambda *_arguments, **_options: answer)
    assert cli.run(["targets", "install", "litert"]) == 0
    assert installed == names
    assert ("nothing was installed" in capfd.readouterr().err) is not answer


def test_nothing_that_is_kept_is_said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli.api, "uninstall_target", lambda _name: ())
    assert cli.run(["targets", "uninstall", "litert"]) == 0
    assert capfd.readouterr().out == "nothing is kept of litert\n"
