"""The table says everything once."""

import io

from rich.console import Console

from slide_export.cli.views.linter import LISTED, render
from slide_export.linter import Finding


def text(*findings: Finding) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(render(findings))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def finding(module: str, found: str = "[2, 3] is wrong", confirmed: bool = True) -> Finding:
    return Finding(("onnx", "coreml"), "error", "rank", module, found, "mend it", "coremltools#1723", confirmed)


def test_brackets_are_text_and_not_markup() -> None:
    assert "[2, 3] is wrong" in text(finding("layers.0"))


def test_a_row_names_everything() -> None:
    shown = text(finding("layers.0"))
    for part in ("error", "rank", "onnx coreml", "layers.0", "mend it", "coremltools#1723"):
        assert part in shown
    assert "device" not in shown
    assert "only the device can confirm" in text(finding("layers.0", confirmed=False))


def test_modules_of_one_rule_share_a_row() -> None:
    shown = text(*(finding(f"layers.{number}") for number in range(LISTED + 2)))
    assert shown.count("mend it") == 1
    assert "and 2 more" in shown
