"""What a package is asked to look like: batch sizes, pictures, classifiers, and rules of the saved program."""

from pathlib import Path
from typing import Any

import pytest

from slide_export.backends.coreml.artifact import OPTIONS, _batches, _check, _form
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import LARGEST_BATCH, ModelIO
from slide_export.core.errors import LoweringError, RequestError
from slide_export.core.model import Model
from slide_export.core.precision import precision_named
from slide_export.inference.served import serve
from slide_export.mil import Operation, Package
from slide_export.mil.convert import Form
from slide_export.mil.program import MilType, Output, Program


@pytest.mark.parametrize(
    ("text", "sizes"),
    [("1", (1,)), ("1,2,3,8", (1, 2, 3, 8)), ("8,1,8", (1, 8)), (f"1,{LARGEST_BATCH}", (1, LARGEST_BATCH))],
)
def test_batches_are_told_in_any_order(text: str, sizes: tuple[int, ...]) -> None:
    assert _batches(text) == sizes


@pytest.mark.parametrize("text", ["", "2,3", "0,1", "01", "1,", "1, 2", "1.5", "one", "-1", f"1,{LARGEST_BATCH + 1}"])
def test_batches_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match=f"with 1 among them and none above {LARGEST_BATCH}; found '{text}'"):
        _batches(text)


def form(model: Model, precision: str = "fp32", io: ModelIO | None = None, **options: str) -> Form:
    io = io or ModelIO()
    defaults = {name: option.default for name, option in OPTIONS.items()}
    return _form(serve(model, io), LoweringOptions(precision_named(precision), io, {**defaults, **options}))


LABELS = tuple("abcdefghij")
PICTURE = {"embed_preprocessing": True, "batch": 1, "softmax": True, "labels": LABELS}


def test_an_array_has_the_batches_that_the_option_names(model: Model) -> None:
    assert form(model, batches="1,4").batches == (1, 4)
    assert form(model, io=ModelIO(batch=3)).batches == (3,)
    assert form(model).shape == (3, 64, 64)
    assert form(model, io=ModelIO(embed_preprocessing=True)).shape == (64, 64, 3)


def test_a_picture_is_one_with_its_channels_in_front(model: Model) -> None:
    made = form(model, io=ModelIO(embed_preprocessing=True), input="image")
    assert (made.image, made.batches, made.shape) == (True, (1,), (3, 64, 64))


def test_a_picture_with_probabilities_and_names_is_a_classifier(model: Model) -> None:
    assert form(model, io=ModelIO(**PICTURE), input="image").labels == LABELS
    assert form(model, io=ModelIO(**{**PICTURE, "softmax": False}), input="image").labels == ()
    assert form(model, io=ModelIO(**PICTURE)).labels == ()


@pytest.mark.parametrize(("precision", "computed"), [("fp32", "fp32"), ("fp16", "fp16"), ("w8", "fp16")])
def test_all_but_fp32_is_computed_in_float16(precision: str, computed: str, model: Model) -> None:
    assert form(model, precision).precision == computed


@pytest.mark.parametrize(
    ("io", "sentence"),
    [
        ({}, "input=image with embedded preprocessing"),
        ({"embed_preprocessing": True, "batch": 2}, "input=image with batch 1 or none, found 2"),
        ({**PICTURE, "labels": (*LABELS[:9], "a")}, "found 'a' twice"),
    ],
)
def test_what_no_picture_can_be_is_refused(io: dict[str, Any], sentence: str, model: Model) -> None:
    with pytest.raises(RequestError, match=sentence):
        form(model, io=ModelIO(**io), input="image")


def checked(model: Model, rank: int, kind: str = "relu", module: str = "") -> None:
    """The rules of a saved program of one operation."""
    made = Operation(kind, "made", {}, {}, (Output("y", MilType("fp16", (1,) * rank)),))
    package = Package(Path("model.mlpackage"), (), (), Program("CoreML7", {}, (made,), ("y",)), {})
    _check(package, {"made": module}, serve(model, ModelIO()))


def test_rank_5_is_taken_and_4_in_slide_attention(model: Model) -> None:
    slide = "layers.0.blocks.0.attn"
    checked(model, 5)
    checked(model, 4, module=slide)
    checked(model, 5, module="layers.2.blocks.0.attn")  # window attention
    for rank, module in ((6, ""), (5, slide), (5, f"{slide}.proj")):
        with pytest.raises(LoweringError, match=f"expected tensors of rank {rank - 1} or less"):
            checked(model, rank, module=module)


@pytest.mark.parametrize("kind", ["gather", "gather_along_axis", "gather_nd"])
def test_a_gather_that_no_sort_made_is_refused(kind: str, model: Model) -> None:
    with pytest.raises(LoweringError, match=f"expected a program without gathers, found {kind} 'made'"):
        checked(model, 2, kind)
