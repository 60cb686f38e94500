"""A tiny bundle for each runtime, exported once."""

from pathlib import Path

import pytest

import slide_export
from slide_export.types import Bundle


@pytest.fixture(scope="session", params=["onnx", "openvino"])
def bundle(request: pytest.FixtureRequest, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return slide_export.export(checkpoint, request.param, out=tmp_path_factory.mktemp("bundles"), image_count=2)
