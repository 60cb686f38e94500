"""Outputs that cannot be compared with a reference are refused by name first; settings that act outside go."""

from pathlib import Path

import numpy as np
import pytest

from slide_export.backends import registry
from slide_export.bundle.records import ArtifactRecord
from slide_export.bundle.store import Bundle
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import ParityError
from slide_export.core.proof import Reference
from slide_export.verification.opening import FittingSession, artifact_of
from tests.bundles import minimal

FEEDS = {"images": np.zeros((2, 3, 4, 4), np.float32)}
LOGITS = np.zeros((2, 5), np.float32)


class Answers:
    evaluator = "a fake"

    def __init__(self, found: Outputs) -> None:
        self.found = found

    def run(self, feeds: Feeds) -> Outputs:
        return self.found


def fitting(found: Outputs) -> FittingSession:
    exact = {"logits": np.zeros((7, 5))}  # of seven images; a batch has two of them
    return FittingSession(Answers(found), Reference("", tuple("abcdefg"), {}, exact, {}))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int64, np.uint8, np.bool_])
def test_every_type_of_real_numbers_is_compared(dtype: type, tmp_path: Path) -> None:
    session = fitting({"logits": LOGITS.astype(dtype), "more": np.zeros(1)})
    assert session.run(FEEDS)["logits"].dtype == dtype
    assert session.evaluator == "a fake"


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ({"scores": LOGITS}, r"scores \[2, 5\] of float32"),
        ({}, "none"),
        ({"logits": LOGITS[:1]}, r"logits \[1, 5\]"),
        ({"logits": LOGITS[:, :4]}, r"logits \[2, 4\]"),
        ({"logits": LOGITS[..., None]}, r"logits \[2, 5, 1\]"),
        ({"logits": LOGITS.astype(np.complex64)}, "of complex64"),
        ({"logits": LOGITS.astype("U3")}, "of <U3"),
        ({"logits": LOGITS.astype(object)}, "of object"),
    ],
    ids=["another name", "nothing", "fewer images", "fewer classes", "another rank", "complex", "texts", "objects"],
)
def test_what_cannot_be_compared_is_refused_in_one_sentence(found: Outputs, told: str) -> None:
    with pytest.raises(ParityError, match=rf"the output logits \[2, 5\] of 2 images, found .*{told}") as refused:
        fitting(found).run(FEEDS)
    assert str(refused.value).isprintable()


def test_a_name_that_the_file_made_up_is_escaped_and_short() -> None:
    with pytest.raises(ParityError) as refused:
        fitting({"\x1b[2J\n" * 1000: LOGITS}).run(FEEDS)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


def test_an_artifact_is_opened_with_its_graph_and_without_what_acts_outside(tmp_path: Path) -> None:
    settings = {"device": "CPU", "config": {"CACHE_DIR": "/etc", "NUM_STREAMS": "1"}}
    artifact = ArtifactRecord("model.xml", 7, "graph.onnx", settings)
    with_graph = Bundle(tmp_path, minimal(target="openvino", artifact=artifact))
    if not registry.availability("openvino").ready:
        pytest.skip("openvino is not installed")
    backend, path, graph, kept = artifact_of(with_graph)
    assert backend.__name__.endswith(".openvino")
    assert (path, graph) == (tmp_path / "model.xml", tmp_path / "graph.onnx")
    assert dict(kept) == {"device": "CPU", "config": {"NUM_STREAMS": "1"}}
    alone = artifact_of(Bundle(tmp_path, minimal(artifact=ArtifactRecord("model.onnx", 7, settings={"threads": 2}))))
    assert alone[2] is None
    assert dict(alone[3]) == {"threads": 2}
