"""A golden file that does not fit its manifest proves nothing."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from slide_export.bundle.golden import LARGEST_FEED, refuse_misfit
from slide_export.core.errors import BundleError
from slide_export.core.graph import TensorSpec
from tests.bundles import minimal
from tests.exporter.bundle.test_store import GOLDEN

LOGITS = GOLDEN.exact["logits"]


def test_what_is_written_fits() -> None:
    refuse_misfit(GOLDEN, minimal(), "b")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"images": ()}, "no image in it"),
        ({"images": ("a",)}, "of shape (2, 3, 64, 64) for 1 images"),
        ({"feeds": {}}, "the inputs none where the manifest has images"),
        ({"feeds": {"x": GOLDEN.feeds["images"]}}, "the inputs x where the manifest has images"),
        ({"feeds": {"images": GOLDEN.feeds["images"][:, :2]}}, "of shape (2, 2, 64, 64)"),
        ({"feeds": {"images": GOLDEN.feeds["images"].astype(np.uint8)}}, "of uint8 where the manifest has float32"),
        ({"exact": {}}, "the outputs none"),
        ({"exact": {"logits": LOGITS > 0}}, "the output logits of bool"),
        ({"exact": {"logits": LOGITS[:, :1]}}, "the output logits of shape (2, 1)"),
        ({"exact": {"logits": LOGITS * np.nan}}, "numbers in the output logits that are not finite"),
        ({"rounded": {"logits": np.array([[1, np.inf], [3, 4]])}}, "numbers in the rounded output logits"),
        ({"rounded": {}}, "the rounded outputs none"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(BundleError) as refused:
        refuse_misfit(replace(GOLDEN, **changes), minimal(), "b")
    assert problem in str(refused.value)


@pytest.mark.parametrize(("beyond", "refused"), [(0, False), (1, True)])
def test_a_batch_is_as_large_as_memory_may_be_expected(beyond: int, refused: bool) -> None:
    batch = LARGEST_FEED // (3 * 64 * 64 * 4) + beyond
    manifest = minimal(
        options=replace(minimal().options, batch=batch),
        inputs=(TensorSpec("images", "float32", (batch, 3, 64, 64)),),
    )
    if refused:
        with pytest.raises(BundleError, match=f"a batch of {batch} images"):
            refuse_misfit(GOLDEN, manifest, "b")
    else:
        refuse_misfit(GOLDEN, manifest, "b")
    with pytest.raises(BundleError, match="a batch of 3 in images"):
        refuse_misfit(GOLDEN, replace(manifest, inputs=(TensorSpec("images", "float32", (3, 3, 64, 64)),)), "b")


def test_bytes_are_the_input_of_an_artifact_that_normalises() -> None:
    pictures = replace(GOLDEN, feeds={"images": GOLDEN.feeds["images"].astype(np.uint8)})
    refuse_misfit(pictures, minimal(options=replace(minimal().options, embed_preprocessing=True)), "b")


def test_a_refused_bundle_is_read_for_its_infinities() -> None:
    broken = replace(GOLDEN, rounded={"logits": np.array([[1, np.inf], [3, 4]])})
    refuse_misfit(broken, minimal(parity=replace(minimal().parity, passed=False)), "b")
