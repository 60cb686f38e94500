"""Beside a bundle that is taken as an example counts what was typed alone; each error is the exit code."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.cli import main as cli
from slide_export.core.errors import RequestError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the library is asked for; it refuses."""
    found: dict[str, Any] = {}

    def export(**options: Any) -> None:
        found.update(options)
        raise RequestError("enough")

    monkeypatch.setattr(cli.api, "export", export)
    monkeypatch.setattr(cli.api, "export_all", export)
    return found


def test_without_an_example_every_option_has_its_value(asked: dict[str, Any]) -> None:
    assert cli.run(["a.pth", "--target", "onnx", "--option", "threads=2"]) == 2
    assert (asked["target"], asked["precision"], asked["options"]) == ("onnx", "fp32", {"threads": "2"})
    assert "like" not in asked


def test_beside_an_example_a_default_says_nothing(asked: dict[str, Any]) -> None:
    assert cli.run(["a.pth", "--like", "bundle"]) == 2
    assert (asked["target"], asked["like"], asked["checkpoint"]) == (None, Path("bundle"), Path("a.pth"))
    assert not {"precision", "form", "options", "labels", "softmax"} & asked.keys()


@pytest.mark.parametrize(
    ("typed", "name", "value"),
    [
        (["--precision", "fp32"], "precision", "fp32"),  # also where it is the default
        (["--option", "a=b"], "options", {"a": "b"}),
        (["--trt-flavor", "rtx"], "options", {"flavor": "rtx"}),
        (["--target", "onnx"], "target", "onnx"),
        (["--softmax"], "softmax", True),
    ],
)
def test_beside_an_example_what_was_typed_counts(
    typed: list[str], name: str, value: Any, asked: dict[str, Any]
) -> None:
    assert cli.run(["a.pth", "--like", "bundle", *typed]) == 2
    assert asked[name] == value


@pytest.mark.parametrize(("typed", "limit"), [([], None), (["--timeout", "5"], 5.0)])
def test_every_target_has_a_time_of_its_own_unless_one_is_told(
    typed: list[str], limit: float | None, asked: dict[str, Any]
) -> None:
    assert cli.run(["a.pth", "--target", "all", *typed]) == 2
    assert (asked.get("timeout_s"), asked["jobs"], "target" in asked) == (limit, 2, False)
