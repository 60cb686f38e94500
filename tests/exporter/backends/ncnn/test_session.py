"""A session takes a batch image by image, and only what the network was written for."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ncnn", reason="ncnn is not installed")

from slide_export.backends.ncnn.runtime import EXACT
from slide_export.backends.ncnn.session import Session
from slide_export.core.errors import RequestError

from .networks import IMAGE, network


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
