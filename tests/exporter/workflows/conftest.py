"""What several tests of the workflows start from."""

from pathlib import Path

import pytest

from slide_export.core.request import ExportRequest
from slide_export.workflows.prepare import Prepared, prepare
from slide_export.workflows.resolve import resolve


@pytest.fixture(scope="module")
def prepared(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    out = tmp_path_factory.mktemp("out")
    asked = ExportRequest(checkpoint, out=out, image_count=2, preprocessing={"std": "0.2,0.2,0.2"})
    found = prepare(resolve(asked).source)
    found.in_form("taps", "onnx").graph  # noqa: B018  # exported, so that it is written too
    return found
