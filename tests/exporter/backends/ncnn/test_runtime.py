"""A network is loaded whole or refused in a sentence, and a blob that is not there is refused by name."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ncnn", reason="ncnn is not installed")

from slide_export.backends.ncnn.network import Layer
from slide_export.backends.ncnn.runtime import EXACT, extract, extractor, open_net, shapes
from slide_export.core.errors import BundleError

from .networks import DOUBLED, IMAGE, network


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
