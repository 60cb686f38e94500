"""A network's text reads back as it was written, and what is none is refused in a sentence."""

from pathlib import Path

import pytest

from slide_export.backends.ncnn.network import Layer, parse, read, render, weights_of
from slide_export.core.errors import BundleError

TEXT = """7767517
3 3
Input                    images                   0 1 images
Convolution              patch_embed.proj/Convolution 1 1 images 1 0=16 1=4 5=1 6=768 -23310=2,1,32
Reshape                  /Reshape                 1 1 1 logits 6="0w,1h,1c"
"""


def test_a_text_is_read_layer_by_layer() -> None:
    _, convolution, reshape = parse(TEXT)
    assert (convolution.type, convolution.inputs, convolution.outputs) == ("Convolution", ("images",), ("1",))
    assert (convolution.integer(6), convolution.integer(7, -1)) == (768, -1)
    assert convolution.parameters[-23310] == "2,1,32"
    assert reshape.parameters == {6: '"0w,1h,1c"'}


def test_what_is_written_reads_back() -> None:
    layers = parse(TEXT)
    assert parse(render(layers)) == layers
    assert render(parse(render(layers))) == render(layers)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "whose first line is 7767517"),
        ("12345\n1 1\n", "whose first line is 7767517"),
        (TEXT.replace("3 3", "3 4"), "as its second line says, 3 4; found 3 3"),
        ("7767517\n", "found 0 0"),
        (TEXT.replace(' 1 logits 6="0w,1h,1c"', " 1"), "a layer in each line"),
        (TEXT.replace("0 1 images", "0 one images"), "a layer in each line"),
    ],
)
def test_what_is_no_network_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(BundleError, match=complaint):
        parse(text)


def test_a_parameter_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(BundleError, match="as parameter 6 of the layer x, found 'a'"):
        Layer("Convolution", "x", (), (), {6: "a"}).integer(6)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read"):
        read(tmp_path / "model.param")
    (tmp_path / "model.param").write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match="cannot be read"):
        read(tmp_path / "model.param")


def test_the_weights_stand_beside() -> None:
    assert weights_of(Path("a/model.param")) == Path("a/model.bin")
