"""The small checkpoint as a bundle of each runtime, exported once."""

from pathlib import Path

import pytest

import slide_export
from slide_export.types import Bundle


@pytest.fixture(scope="session")
def onnx_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return slide_export.export(
        checkpoint, "onnx", out=tmp_path_factory.mktemp("bundles"), image_count=2, lowering="taps"
    )


@pytest.fixture(scope="session")
def openvino_bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return slide_export.export(
        checkpoint, "openvino", out=tmp_path_factory.mktemp("bundles"), image_count=2, lowering="taps"
    )


@pytest.fixture(params=["onnx", "openvino"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    found: Bundle = request.getfixturevalue(f"{request.param}_bundle")
    return found
