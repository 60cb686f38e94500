"""What no file tells: said by the user, told by the file, or assumed aloud."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from slide_export.checkpoint.load import load_checkpoint
from slide_export.checkpoint.values import Configured, Library, configure
from slide_export.core.errors import CheckpointError, RequestError
from slide_export.core.model import ASSUMED, Model
from slide_export.models import FAMILIES, cswin, nat, pvt, pvt_v2, slide_pvt_v2, swin
from slide_export.models.config_tree import write_config
from slide_export.models.cswin import CSwinConfig
from slide_export.models.family import ShapeError
from slide_export.models.pvt import PvtConfig
from slide_export.models.pvt_v2 import PvtV2Config

OWN_WIDTHS = PvtV2Config((16, 32, 48, 64), (1, 1, 1, 1), (2, 4, 3, 8), image_size=(64, 64), num_classes=3)


def load(tmp_path: Path, family: Any, config: Any, tree: bool = False, **options: Any) -> Model:
    torch.manual_seed(0)
    content = {"model": family.FAMILY.build(config).state_dict()}
    if tree:
        content["config"] = write_config(config, family.FAMILY.name)
    torch.save(content, tmp_path / "small.pth")
    return load_checkpoint(tmp_path / "small.pth", **options)


def in_force(model: Model) -> dict[str, tuple[str, str]]:
    return {value.name: (value.value, value.source) for value in model.provenance.values}


def test_heads_that_no_shape_tells_can_be_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"name it with variant, say values heads=\.\.\. or values linear"):
        load(tmp_path, pvt_v2, OWN_WIDTHS)
    model = load(tmp_path, pvt_v2, OWN_WIDTHS, values={"heads": "2,4,3,8", "image_size": "64"})
    assert model.config == OWN_WIDTHS
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    trained = pvt_v2.FAMILY.build(OWN_WIDTHS).eval()
    trained.load_state_dict(torch.load(tmp_path / "small.pth")["model"])
    with torch.inference_mode():
        torch.testing.assert_close(model.module(images), trained(images), rtol=0, atol=0)
        other = load(tmp_path, pvt_v2, OWN_WIDTHS, values={"heads": "1,2,1,4"}).module(images)
    assert (other - trained(images)).abs().max() > 1e-4  # the heads matter, and no shape sees it
    assert in_force(model) == {
        "heads": ("2,4,3,8", "--model"),
        "linear": ("no", "the tensor shapes"),
        "image_size": ("64x64", "--model"),
    }
    assert not any(note.startswith("assumed ") for note in model.provenance.notes)


def test_what_nobody_says_is_assumed_aloud(tmp_path: Path) -> None:
    model = load(tmp_path, nat, nat.NatConfig(16, (1, 1, 1, 1), (1, 2, 4, 8), 2.0, num_classes=3))
    assert in_force(model) == {
        "image_size": ("224x224", ASSUMED),
        "dilations": ("1", ASSUMED),
        "activation": ("gelu", "its default"),
    }
    assert any(
        note.startswith("assumed dilations=1, no file tells it") and "--model dilations=... says another" in note
        for note in model.provenance.notes
    )
    named = load(tmp_path, nat, nat.VARIANTS["nat_mini"], variant="nat_mini")
    assert in_force(named)["dilations"] == ("1", "--variant nat_mini")
    assert not any(note.startswith("assumed ") for note in named.provenance.notes)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"head": "1"}, r"expected values with an option of pvt_v2 \(heads, linear, image_size\), found head"),
        ({"heads": "two"}, "expected values heads as whole numbers with commas, 1,2,5,8; found 'two'"),
        ({"heads": 2}, "expected values heads as whole numbers"),
        ({"image_size": "0x64"}, "expected values image_size as rows and columns"),
        ({"linear": "maybe"}, "expected values linear as yes or no; found 'maybe'"),
        ({"heads": "2,4,3"}, "3 numbers of heads for 4 stages"),
        ({"heads": "2,4,5,8"}, "5 heads in stage 3, which do not divide its width 48"),
        (
            {"heads": "2,4,3,8", "linear": "yes"},
            "expected linear=no, which the tensors' shapes tell; found values lin",
        ),
    ],
)
def test_what_is_misnamed_misformed_or_contradicted_is_refused(
    values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RequestError, match=message):
        load(tmp_path, pvt_v2, OWN_WIDTHS, values=values)


def test_a_file_that_has_its_configuration_is_believed(tmp_path: Path) -> None:
    model = load(tmp_path, pvt_v2, OWN_WIDTHS, tree=True, values={"heads": "2,4,3,8"})
    assert in_force(model)["heads"] == ("2,4,3,8", "--model")
    assert in_force(model)["image_size"] == ("64x64", "the checkpoint's own config")
    with pytest.raises(RequestError, match="expected heads=2,4,3,8, which the checkpoint's own config tells; found"):
        load(tmp_path, pvt_v2, OWN_WIDTHS, tree=True, values={"heads": "1,2,3,4"})
    with pytest.raises(RequestError, match="expected image_size=64x64, which the checkpoint's own config tells"):
        load(tmp_path, pvt_v2, OWN_WIDTHS, tree=True, values={"image_size": "96"})


def test_a_variant_and_a_value_that_differ_are_refused(tmp_path: Path) -> None:
    tiny = cswin.VARIANTS["cswin_tiny"]
    with pytest.raises(RequestError, match="expected heads=2,4,8,16, which variant cswin_tiny tells"):
        load(tmp_path, cswin, tiny, variant="cswin_tiny", values={"heads": "4,4,8,16"})


def test_the_linear_form_where_every_stage_slides(tmp_path: Path) -> None:
    config = replace(OWN_WIDTHS, embed_dims=(16, 32, 48, 64), slide_stages=(0, 1, 2, 3), linear=True)
    with pytest.raises(CheckpointError, match="no shape tells whether the MLPs have a ReLU"):
        load(tmp_path, slide_pvt_v2, config, values={"heads": "2,4,3,8"})
    model = load(tmp_path, slide_pvt_v2, config, values={"heads": "2,4,3,8", "linear": "yes", "image_size": "64"})
    assert model.config == config
    with pytest.raises(RequestError, match="4 heads in stage 2, where widths"):  # its slide table has them
        load(tmp_path, slide_pvt_v2, config, values={"heads": "2,2,3,8", "linear": "yes"})


def test_a_pvt_of_an_input_that_is_no_square(tmp_path: Path) -> None:
    config = PvtConfig((64, 128, 320, 512), (1, 1, 1, 1), (1, 2, 5, 8), image_size=(32, 96), num_classes=3)
    with pytest.raises(CheckpointError, match="192 positions in stage 1, which is no square"):
        load(tmp_path, pvt, config)
    assert load(tmp_path, pvt, config, values={"image_size": "32x96"}).config == config
    with pytest.raises(RequestError, match="192 positions in stage 1, where that input has 256"):
        load(tmp_path, pvt, config, values={"image_size": "64x64"})


def test_stripes_and_heads_of_a_cswin(tmp_path: Path) -> None:
    config = CSwinConfig(16, (1, 1, 1, 1), (2, 2, 4, 4), stripes=(1, (2, 4), 2, 0), image_size=(64, 64), num_classes=3)
    said = {"heads": "2,2,4,4", "image_size": "64", "stripes": "1,2x4,2,0"}
    with pytest.raises(RequestError, match=r"values image_size=72x72 gives a map of 9x9, which stripes of 2"):
        load(tmp_path, cswin, config, values={"heads": "2,2,4,4", "image_size": "72"})
    model = load(tmp_path, cswin, config, values=said)
    assert model.config == config
    assert in_force(model)["stripes"] == ("1,2x4,2,0", "--model")
    with pytest.raises(RequestError, match="stage 4 one window, where 1 is said"):
        load(tmp_path, cswin, config, values={**said, "stripes": "1,2,2,1"})
    with pytest.raises(RequestError, match="3 heads in stage 1"):
        load(tmp_path, cswin, config, values={**said, "heads": "3,2,4,4"})


def test_a_swin_whose_tables_are_alike_is_of_an_assumed_input(tmp_path: Path) -> None:
    config = swin.SwinConfig(8, (1, 1, 1, 1), (1, 1, 1, 1), window=(2, 2), image_size=(64, 64), num_classes=3)
    assert in_force(load(tmp_path, swin, config))["image_size"] == ("64x64", ASSUMED)
    wide = load(tmp_path, swin, replace(config, image_size=(128, 128)), values={"image_size": "128"})
    assert wide.config.image_size == (128, 128)
    small = replace(config, window=(4, 4))  # its last window is cut to a map of 2x2: the shapes tell the input
    assert in_force(load(tmp_path, swin, small))["image_size"] == ("64x64", "the tensor shapes")
    with pytest.raises(RequestError, match="expected image_size=64x64, which the tensors' shapes tell"):
        load(tmp_path, swin, small, values={"image_size": "128"})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_value_reads_what_it_shows(family: Any) -> None:
    for config in family.variants.values():
        for value in family.values:
            found = value.of(config)
            assert value.kind.read(value.shown(found)) == found
            assert value.applied(config, found) == config
            assert value.help
            assert value.default


SMALL = swin.SwinConfig(8, (1, 1), (1, 1), (2, 2), (32, 32), num_classes=3)
FIELDS = asdict(SMALL)
GUESS = "no shape tells the strides: those of every published one"
GUESSING = replace(swin.FAMILY, assumed=GUESS)
TREE = {
    "MODEL": {
        "TYPE": "swin",
        "NUM_CLASSES": 3,
        "SWIN": {"EMBED_DIM": 8, "DEPTHS": [1, 1], "NUM_HEADS": [1, 1], "WINDOW_SIZE": 2},
    },
    "DATA": {"IMG_SIZE": 32},
}


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return dict(swin.SwinTransformer(SMALL).state_dict())


def without(name: str) -> dict[str, Any]:
    """The fields of a library that says nothing of one."""
    return {key: value for key, value in FIELDS.items() if key != name}


def sources(found: Configured) -> dict[str, str]:
    return {value.name: value.source for value in found.values}


def test_a_library_that_tells_every_field_needs_no_shapes() -> None:
    found = configure(GUESSING, {}, None, None, {}, Library("timm", FIELDS, "config.json"))
    assert (found.config, found.source, found.assumed) == (SMALL, "config.json", ())
    assert set(sources(found).values()) == {"config.json"}
    code = configure(GUESSING, {}, None, None, {}, Library("timm", FIELDS, ""))
    assert (code.config, code.source) == (SMALL, "the tensor shapes")
    assert set(sources(code).values()) == {"timm"}


@pytest.mark.parametrize("name", ["num_classes", "embed_dim", "depths", "heads"])
def test_what_a_library_leaves_out_the_shapes_tell(name: str, state: dict[str, torch.Tensor]) -> None:
    assert configure(swin.FAMILY, state, None, None, {}, Library("timm", without(name), "config.json")).config == SMALL


def test_a_field_that_the_family_does_not_model_is_refused(state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ShapeError, match="pooling, stem, in which timm differs and which swin does not model"):
        configure(
            swin.FAMILY, state, None, None, {}, Library("timm", {**FIELDS, "stem": 2, "pooling": 1}, "config.json")
        )


def test_what_a_librarys_reader_guessed_is_assumed_and_said_once(state: dict[str, torch.Tensor]) -> None:
    guessed = Library("timm", FIELDS, "config.json", frozenset({"image_size"}))
    found = configure(swin.FAMILY, state, None, None, {}, guessed)
    assert sources(found)["image_size"] == ASSUMED
    assert sources(found)["window"] == "config.json"
    assert found.assumed == ()
    alone = configure(swin.FAMILY, state, None, None, {}, Library("timm", without("image_size"), "config.json"))
    assert [sentence.partition(",")[0] for sentence in alone.assumed] == ["assumed image_size=224x224"]


@pytest.mark.parametrize(("source", "refused"), [("config.json", True), ("", False)])
def test_what_a_librarys_file_tells_cannot_be_said_otherwise(
    source: str, refused: bool, state: dict[str, torch.Tensor]
) -> None:
    library = Library("timm", FIELDS, source)
    if refused:
        with pytest.raises(RequestError, match=r"expected image_size=32x32, which config\.json tells; found"):
            configure(swin.FAMILY, state, None, None, {"image_size": "64"}, library)
        library = Library("timm", without("image_size"), source)
    found = configure(swin.FAMILY, state, None, None, {"image_size": "64"}, library)
    assert found.config == replace(SMALL, image_size=(64, 64))
    assert sources(found)["image_size"] == "--model"


def test_a_tree_beside_a_library_is_not_read(state: dict[str, torch.Tensor]) -> None:
    other = {**TREE, "EXTRA": 1, "MODEL": {"TYPE": "resnet"}}
    found = configure(swin.FAMILY, state, other, None, {}, Library("timm", FIELDS, "config.json"))
    assert (found.config, found.assumed) == (SMALL, ())


def test_a_familys_own_guess_stands_where_shapes_alone_tell_the_model(state: dict[str, torch.Tensor]) -> None:
    said = {"image_size": "32"}
    assert configure(GUESSING, state, None, None, said).assumed == (GUESS,)
    assert configure(replace(swin.FAMILY, assumed=lambda _: GUESS), state, None, None, said).assumed == (GUESS,)
    assert configure(swin.FAMILY, state, None, None, said).assumed == ()
    assert configure(GUESSING, state, TREE, None, said).assumed == ()
    assert configure(GUESSING, state, None, "swin_tiny", {}).assumed == ()


@pytest.mark.parametrize(
    ("tree", "sentences"),
    [
        (TREE, []),
        ({**TREE, "EXTRA": 1}, ["also has EXTRA: taken for"]),
        ({"MODEL": {"TYPE": "swin"}}, ["tells no MODEL.SWIN.EMBED_DIM"]),
        ({"MODEL": {"TYPE": "swin"}, "EXTRA": 1}, ["tells no MODEL.SWIN.EMBED_DIM", "also has EXTRA"]),
        ({"DATA": {"MEAN": [0.5] * 3}}, []),
        ({"DATA": {"MEAN": [0.5] * 3}, "EXTRA": 1}, ["also has EXTRA"]),
        ({"backbone": "swin", "EXTRA": 1}, ["has backbone, EXTRA and no MODEL: its form is not known"]),
        ({}, []),
    ],
)
def test_what_of_a_tree_is_not_used_is_said(
    tree: dict[str, Any], sentences: list[str], state: dict[str, torch.Tensor]
) -> None:
    found = configure(swin.FAMILY, state, tree, None, {"image_size": "32"})
    assert found.config == SMALL
    assert len(found.assumed) == len(sentences)
    for sentence, part in zip(found.assumed, sentences, strict=True):
        assert part in sentence


@pytest.mark.parametrize("rest", [TREE["MODEL"], {}], ids=["whole", "of a name alone"])
def test_a_tree_of_another_model_is_refused(rest: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ShapeError, match="resnet"):
        configure(swin.FAMILY, state, {"MODEL": {**rest, "TYPE": "resnet"}}, None, {})
