"""report.md says the verdict first and every number of the manifest."""

import copy
from pathlib import Path

import pytest

from slide_export.bundle.report import markdown
from slide_export.bundle.store import Bundle
from slide_export.core.request import ExportRequest
from slide_export.workflows import export as pipeline


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return pipeline.export(ExportRequest(checkpoint, out=tmp_path_factory.mktemp("out")))


def test_verdict_blocks_and_feeding(made: Bundle) -> None:
    text = markdown(made.manifest)
    assert "**equal** to the PyTorch model on 8 real images" in text
    assert all(block["block"] in text for block in made.manifest["fusion"])
    assert "input `images`: float32 [batch, 3, 64, 64]" in text
    assert "resize (both sides) to 73x73, bicubic" in text


def test_rejection_and_flips_are_said(made: Bundle) -> None:
    manifest = copy.deepcopy(dict(made.manifest))
    manifest["parity"]["passed"] = False
    manifest["parity"]["flips"] = [{"image": "a.jpg", "expected": 3, "found": 5, "margin": 0.01}]
    text = markdown(manifest)
    assert "REJECTED" in text
    assert "a.jpg: class 3 became 5, margin 1.00e-02" in text


def test_without_slide_blocks_there_is_no_certificate(made: Bundle) -> None:
    assert "certificate" not in markdown({**made.manifest, "fusion": []})
