"""What a model is fed and gives, in every interface, against the bare module."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.inference.preprocess import normalise
from slide_export.inference.served import feeds_of, first, repeated, serve
from slide_export.tasks import CLASSIFY

FLOAT32 = 1e-5  # logits of order 1, summed in another order
PICTURES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def test_pictures_are_normalised_for_the_caller_or_by_the_model(model: Model) -> None:
    plain, embedded = serve(model, ModelIO()), serve(model, ModelIO(embed_preprocessing=True))
    assert np.array_equal(plain.feeds([PICTURES])["images"], normalise(PICTURES, model.data))
    assert embedded.feeds([PICTURES])["images"] is PICTURES
    for served in (plain, embedded):
        (values,) = served.normalised(served.feeds([PICTURES]))
        assert torch.equal(values, torch.from_numpy(normalise(PICTURES, model.data)))


@pytest.mark.parametrize("embed", [False, True])
def test_outputs_are_the_modules_image_by_image(embed: bool, model: Model) -> None:
    served = serve(model, ModelIO(embed_preprocessing=embed))
    found = served.outputs(served.feeds([PICTURES]), torch.float32)
    with torch.inference_mode():
        expected = model.module(torch.from_numpy(normalise(PICTURES, model.data))).numpy()
    assert list(found) == ["logits"]
    assert np.abs(found["logits"] - expected).max() < FLOAT32


def test_float64_is_a_copy_and_takes_uint8_as_it_is(model: Model) -> None:
    served = serve(model, ModelIO(embed_preprocessing=True))
    exact = served.in_float64()
    assert next(exact.parameters()).dtype == torch.float64
    assert next(model.module.parameters()).dtype == torch.float32
    (fed,) = served.tensors({"images": PICTURES}, torch.float64)
    assert fed.dtype == torch.uint8
    (plain,) = serve(model, ModelIO()).tensors({"images": np.zeros((1, 3, 4, 4), np.float32)}, torch.float64)
    assert plain.dtype == torch.float64


@pytest.mark.parametrize(
    ("io", "shape", "dtype"),
    [
        (ModelIO(), (2, 3, 64, 96), torch.float32),  # two images: tracing one bakes the batch in
        (ModelIO(batch=5), (5, 3, 64, 96), torch.float32),
        (ModelIO(embed_preprocessing=True), (2, 64, 96, 3), torch.uint8),
    ],
)
def test_the_example_has_the_shape_that_is_traced(
    io: ModelIO, shape: tuple[int, ...], dtype: torch.dtype, model: Model
) -> None:
    wide = replace(model, config=replace(model.config, image_size=(64, 96)))  # type: ignore[type-var]
    (example,) = serve(wide, io).example()
    assert (tuple(example.shape), example.dtype) == (shape, dtype)


def test_a_batch_is_filled_up_with_its_own_images() -> None:
    value = np.arange(3)
    assert list(repeated(value, 5)) == [0, 1, 2, 0, 1]
    assert list(repeated(value, 2)) == [0, 1]
    assert list(first({"images": value}, 2)["images"]) == [0, 1]


def test_feeds_need_no_model(model: Model) -> None:
    served = serve(model, ModelIO())
    alone = feeds_of(served.task, served.io, model.data, [PICTURES])
    assert np.array_equal(alone["images"], served.feeds([PICTURES])["images"])


def test_margins_are_made_image_by_image(model: Model) -> None:
    seen: list[int] = []

    def margins(_module: object, found: Mapping[str, torch.Tensor], _size: object, _io: object) -> Any:
        seen.append(len(found["logits"]))
        return {"mask": found["logits"].amax(dim=1).double()}

    task = replace(CLASSIFY, classes=lambda _io: ("mask",), margins=margins)
    exact = np.random.default_rng(0).normal(size=(3, 10))
    found = replace(serve(model, ModelIO()), task=task).margins({"logits": exact})["mask"]
    assert seen == [1, 1, 1]
    assert found.dtype == np.float32
    assert found == pytest.approx(exact.max(axis=1), rel=1e-6)
    assert serve(model, ModelIO()).margins({"logits": exact}) == {}


def test_what_is_printed_of_it_begins_with_the_model_that_it_came_from(model: Model) -> None:
    assert repr(serve(model, ModelIO())).startswith("ServedModel(trained=")  # and not with each layer that runs
