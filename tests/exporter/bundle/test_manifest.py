"""What a manifest says of the files beside it."""

from pathlib import Path

import pytest

from slide_export.bundle.manifest import _shipped_bytes
from slide_export.core.artifact import Artifact


@pytest.mark.parametrize(("graph", "expected"), [(None, 17), ("model.onnx", 10)], ids=["all of it", "the plan alone"])
def test_the_graph_that_an_artifact_was_built_from_does_not_ship(
    graph: str | None, expected: int, tmp_path: Path
) -> None:
    (tmp_path / "model.plan").write_bytes(bytes(10))
    (tmp_path / "model.onnx").write_bytes(bytes(7))  # without a graph: the weights beside an OpenVINO IR, say
    artifact = Artifact("t", "fp32", tmp_path / "model.plan", (), (), graph=tmp_path / graph if graph else None)
    assert _shipped_bytes(artifact) == expected
