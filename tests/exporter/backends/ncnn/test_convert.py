"""What pnnx is given, and what is refused of outputs before it runs."""

import pytest
import torch

from slide_export.backends.ncnn.convert import _images, _refuse_integers
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import LoweringError
from slide_export.core.model import Model
from slide_export.inference.served import serve


def test_outputs_of_floats_are_taken_and_integers_refused_by_name() -> None:
    _refuse_integers(["a", "b"], [torch.zeros(1), torch.zeros(1, dtype=torch.float16)])
    for kind in (torch.int64, torch.uint8, torch.bool):
        with pytest.raises(LoweringError, match=f"ncnn has no integers; found b of {kind}"):
            _refuse_integers(["a", "b"], [torch.zeros(1), torch.zeros(1, dtype=kind)])


def test_a_trace_sees_noise_that_is_no_where_the_same(model: Model) -> None:
    (normalised,) = _images(serve(model, ModelIO()))
    assert normalised.shape == (1, 3, 64, 64)
    assert normalised.unique().numel() > 0.99 * normalised.numel()
    (again,) = _images(serve(model, ModelIO()))
    assert torch.equal(normalised, again)  # the same bytes for the same model


def test_a_picture_is_of_whole_numbers_in_0_to_255(model: Model) -> None:
    (picture,) = _images(serve(model, ModelIO(embed_preprocessing=True)))
    assert (picture.min(), picture.max()) == (0, 255)
    assert torch.equal(picture, picture.round())
