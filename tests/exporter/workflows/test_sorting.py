"""A model that sorts, and couples the images of a batch: exported, verified with and without its checkpoint."""

import shutil
from pathlib import Path

import onnx
import pytest
import torch

from slide_export import api
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import ParityError, RequestError
from slide_export.core.request import ExportRequest
from slide_export.models.boat_cswin import FAMILY, BoatCSwinConfig
from slide_export.models.config_tree import write_config
from slide_export.workflows import export as pipeline
from tests.bundles import restate
from tests.conftest import randomise

SMALL = BoatCSwinConfig(64, (1, 1), (2, 4), stripes=(7, 0), image_size=(56, 56), num_classes=10)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("boat") / "boat.pth"
    torch.manual_seed(0)
    torch.save({"model": randomise(FAMILY.build(SMALL)).state_dict(), "config": write_config(SMALL, FAMILY.name)}, path)
    return path


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return pipeline.export(ExportRequest(checkpoint, target="onnx", out=tmp_path_factory.mktemp("out"), image_count=3))


def test_a_batch_that_nobody_names_is_the_smallest_and_said(made: Bundle) -> None:
    manifest = made.manifest
    assert manifest.options.batch == 2
    assert [spec.shape[0] for spec in (*manifest.inputs, *manifest.outputs)] == [2, 2]
    assert any(note.startswith("assumed a fixed batch of 2") for note in manifest.checkpoint.notes)
    assert manifest.parity.images == 2  # of three, the third has nobody to be paired with


def test_orders_are_in_the_manifest_and_the_report(made: Bundle) -> None:
    (order,) = made.manifest.parity.orders
    assert order.layer == "stage1.0.content_attn.bisection"
    assert order.tokens == 2 * 2 * 2 * 196  # images, heads, rounds, tokens
    assert order.strayed == 0
    assert made.manifest.parity.reordered is not None
    assert "| layer that sorts |" in (made.path / "report.md").read_text()


@pytest.mark.parametrize("with_checkpoint", [False, True])
def test_it_is_verified_with_and_without_its_checkpoint(made: Bundle, checkpoint: Path, with_checkpoint: bool) -> None:
    result = api.verify(made.path, against=checkpoint if with_checkpoint else None)
    assert result.passed
    assert (len(result.orders) == 1) == with_checkpoint


@pytest.mark.parametrize("batch", [1, 3])
def test_an_odd_batch_is_refused_by_name(checkpoint: Path, batch: int, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=rf"batch to be a multiple of 2, found {batch}"):
        pipeline.export(ExportRequest(checkpoint, target="onnx", out=tmp_path, interface=ModelIO(batch), image_count=2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("rounds", "told"), [(True, "to sort by its keys"), (False, "keys that tie come in another order")]
)
def test_an_artifact_that_sorts_the_other_way_round_is_refused(
    made: Bundle, checkpoint: Path, rounds: bool, told: str, tmp_path: Path
) -> None:
    """In its first round: with the checkpoint, for the outputs hardly show it. Back into the map: without it too."""
    altered = tmp_path / made.path.name
    shutil.copytree(made.path, altered)
    proto = onnx.load(altered / "model.onnx")
    kinds = ("rounds.0" in node.name if rounds else "rounds" not in node.name for node in proto.graph.node)
    node = next(node for node, chosen in zip(proto.graph.node, kinds, strict=True) if chosen and node.op_type == "TopK")
    next(attribute for attribute in node.attribute if attribute.name == "largest").i = 1
    onnx.save(proto, altered / "model.onnx")
    restate(altered)  # as whoever made it would say
    with pytest.raises(ParityError, match=told):
        api.verify(altered, against=checkpoint if rounds else None)
