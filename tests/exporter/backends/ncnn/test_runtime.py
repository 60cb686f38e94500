"""A network is loaded whole or refused in a sentence, and a blob that is not there is refused by name."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ncnn", reason="ncnn is not installed")

from slide_export.backends.ncnn.network import Layer, render, weights_of
from slide_export.backends.ncnn.runtime import EXACT, extract, extractor, open_net, shapes
from slide_export.backends.ncnn.session import Session
from slide_export.core.errors import BundleError, RequestError

DOUBLED = (
    Layer("Input", "images", (), ("images",)),
    Layer("BinaryOp", "twice/BinaryOp", ("images",), ("twice",), {0: "2", 1: "1", 2: "2.0"}),
    Layer("BinaryOp", "more/BinaryOp", ("twice",), ("logits",), {0: "0", 1: "1", 2: "1.0"}),
)
IMAGE = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def network(folder: Path, layers: tuple[Layer, ...] = DOUBLED) -> Path:
    path = folder / "model.param"
    path.write_text(render(layers))
    weights_of(path).write_bytes(b"")
    return path


def test_values_on_the_way_can_be_asked_for(tmp_path: Path) -> None:
    net = open_net(network(tmp_path), EXACT, 1)
    assert np.array_equal(extract(extractor(net, {"images": IMAGE}), "logits"), 2 * IMAGE + 1)
    assert shapes(net, {"images": IMAGE}, ["twice", "logits"]) == {"twice": (3, 2, 2), "logits": (3, 2, 2)}


def test_an_input_or_a_blob_that_is_not_there_is_named(tmp_path: Path) -> None:
    net = open_net(network(tmp_path), EXACT, 1)
    with pytest.raises(BundleError, match="expected a network with the input pictures, found images"):
        extractor(net, {"pictures": IMAGE})
    with pytest.raises(BundleError, match="expected a network that computes scores"):
        extract(extractor(net, {"images": IMAGE}), "scores")


@pytest.mark.parametrize("missing", ["model.param", "model.bin"])
def test_a_network_is_two_files(missing: str, tmp_path: Path) -> None:
    path = network(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(BundleError, match=rf"in two files, model\.param and model\.bin; no .*{missing}"):
        open_net(path, EXACT, 1)


def test_a_layer_that_ncnn_does_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="a layer of the type Imagined, which it does not have"):
        open_net(network(tmp_path, (DOUBLED[0], Layer("Imagined", "a", ("images",), ("b",)))), EXACT, 1)


def settings(*, pictures: bool = False) -> dict[str, object]:
    return {"options": dict(EXACT), "threads": 1, "bytes": pictures}


def test_images_go_through_one_by_one(tmp_path: Path) -> None:
    session = Session(network(tmp_path), settings())
    images = np.stack([IMAGE, IMAGE + 1])
    assert np.array_equal(session.run({"images": images})["logits"], 2 * images + 1)
    shown = Session(network(tmp_path), settings(), ["twice"]).run({"images": images})
    assert list(shown) == ["twice"]


def test_a_picture_is_taken_with_its_channels_last(tmp_path: Path) -> None:
    pictures = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    found = Session(network(tmp_path), settings(pictures=True)).run({"images": pictures})["logits"]
    assert np.array_equal(found, 2.0 * pictures.transpose(0, 3, 1, 2) + 1)


@pytest.mark.parametrize(("pictures", "kind"), [(False, np.uint8), (False, np.float64), (True, np.float32)])
def test_feeds_of_another_type_are_refused(pictures: bool, kind: type[np.generic], tmp_path: Path) -> None:
    session = Session(network(tmp_path), settings(pictures=pictures))
    expected = "uint8" if pictures else "float32"
    for feeds in ({"images": IMAGE[None].astype(kind)}, {"pictures": IMAGE[None].astype(expected)}, {}):
        with pytest.raises(RequestError, match=f"expected the input images of {expected}, found"):
            session.run(feeds)
