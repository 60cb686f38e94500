"""Environments are made and removed for targets that have one of their own."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.api import installed
from slide_export.backends import isolation, registry
from slide_export.core.errors import RequestError
from slide_export.core.progress import no_progress


def test_each_target_tells_what_it_can_do_here() -> None:
    assert tuple(one.target for one in installed.targets()) == tuple(registry.names())


@pytest.mark.parametrize("verb", [installed.install_target, installed.uninstall_target])
def test_a_target_without_an_environment_and_one_that_there_is_not_are_refused(
    verb: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("install", "uninstall"):
        monkeypatch.setattr(isolation, name, None)
    with pytest.raises(RequestError, match="expected a target with an environment of its own, found onnx"):
        verb("onnx")
    with pytest.raises(RequestError, match="found 'litter'"):
        verb("litter")


def test_the_environment_of_a_target_is_made_as_it_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Any, ...]] = []

    def install(*given: Any) -> Path:
        asked.append(given)
        return tmp_path

    monkeypatch.setattr(isolation, "install", install)
    monkeypatch.setattr(isolation, "uninstall", lambda target: (target,))
    assert installed.install_target("litert") == tmp_path
    assert asked == [("litert", registry.load("litert").ENVIRONMENT, no_progress)]  # type: ignore[attr-defined]
    assert installed.uninstall_target("litert") == ("litert",)


def test_what_is_kept_is_asked_of_the_targets_that_need_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(isolation, "kept", lambda needed: asked.append(needed) or ())
    assert installed.environments() == ()
    assert asked == [{"litert": registry.load("litert").ENVIRONMENT}]  # type: ignore[attr-defined]
