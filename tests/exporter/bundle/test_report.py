"""report.md says the verdict first and every number of the manifest."""

from dataclasses import replace
from pathlib import Path

import pytest

from slide_export.bundle.report import markdown
from slide_export.bundle.store import Bundle
from slide_export.core.proof import Flip
from slide_export.core.request import ExportRequest
from slide_export.workflows import export as pipeline


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return pipeline.export(ExportRequest(checkpoint, out=tmp_path_factory.mktemp("out")))


def test_verdict_blocks_and_feeding(made: Bundle) -> None:
    text = markdown(made.manifest)
    assert "**equal** to the PyTorch model on 8 real images" in text
    assert all(block.block in text for block in made.manifest.fusion)
    assert "input `images`: float32 [batch, 3, 64, 64]" in text
    assert "resize (both sides) to 73x73, bicubic" in text


def test_rejection_and_flips_are_said(made: Bundle) -> None:
    parity = replace(made.manifest.parity, passed=False, flips=(Flip("a.jpg", 3, 5, 0.01),))
    text = markdown(replace(made.manifest, parity=parity))
    assert "REJECTED" in text
    assert "a.jpg: class 3 became 5, margin 1.00e-02" in text


def test_without_slide_blocks_there_is_no_certificate(made: Bundle) -> None:
    assert "certificate" not in markdown(replace(made.manifest, fusion=()))


def test_it_says_with_which_settings_to_load_it_and_the_classes(made: Bundle) -> None:
    artifact = replace(made.manifest.artifact, settings={"config": {"INFERENCE_PRECISION_HINT": "f32"}})
    manifest = replace(made.manifest, artifact=artifact, labels=("zero", "one"))
    text = markdown(manifest)
    assert '`{"config": {"INFERENCE_PRECISION_HINT": "f32"}}`; another load may compute in another precision' in text
    assert "- classes, in order: zero, one\n" in text
    assert "classes" not in markdown(replace(manifest, labels=()))


def test_what_others_wrote_is_no_markup(made: Bundle) -> None:
    hostile = "x\n\n# **equal** @team\x1b[2J<img src=x>"
    checkpoint = replace(made.manifest.checkpoint, file="a`b", notes=(hostile,))
    text = markdown(replace(made.manifest, name=hostile, checkpoint=checkpoint, labels=("zero", hostile)))
    assert "\x1b" not in text
    assert "From `` a`b ``" in text
    lines = text.splitlines()
    shown = r"x # \*\*equal\*\* @&#8203;team\\x1b\[2J&lt;img src=x&gt;"
    assert lines[0].startswith(f"# {shown}: ")
    assert f"- {shown}" in lines
    assert f"- classes, in order: zero, {shown}" in lines
