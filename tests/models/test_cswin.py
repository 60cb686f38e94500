"""CSwin's configurations and input sizes, and Slide-CSwin's options."""

from dataclasses import replace

import pytest
import torch

from slide_export.models import FAMILIES, ShapeError, cswin, slide_cswin
from slide_export.models.cswin import CSwinConfig, CSwinTransformer
from slide_export.models.slide_attention import LepeSlideAttention, SlideAttention
from slide_export.models.stripe_attention import StripeBlock
from tests.conftest import randomise

SMALL = CSwinConfig(16, (1, 2, 1, 1), (2, 2, 4, 4), stripes=(1, 2, 2, 0), image_size=(64, 64), num_classes=10)


def meta(config: CSwinConfig) -> CSwinTransformer:
    with torch.device("meta"):
        return CSwinTransformer(config)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stripes": (1, 2, 0, 0), "num_classes": 5, "mlp_ratio": 2.0},
        {"stripes": (0, 2, 7, 0)},
        {"slide_stages": (0, 1)},
        {"slide_stages": (1, 3), "kernel_size": 5, "lepe": True},
    ],
)
def test_infer_reads_the_model_from_its_shapes(changes: dict[str, object]) -> None:
    config = replace(cswin.VARIANTS["cswin_base"], **changes)
    assert cswin.infer(meta(config).state_dict()) == config  # whole maps too; else a stripe's width is the usual one


def test_infer_refuses_a_width_whose_heads_are_unknown() -> None:
    with pytest.raises(ShapeError, match="heads no shape tells"):
        cswin.infer(meta(SMALL).state_dict())


def test_infer_refuses_slide_heads_of_another_model() -> None:
    heads = replace(slide_cswin.VARIANTS["slide_cswin_tiny"], heads=(4, 4, 8, 16))
    with pytest.raises(ShapeError, match="other heads"):
        cswin.infer(meta(heads).state_dict())


def test_384_gets_cswins_own_stripes() -> None:
    assert cswin.VARIANTS["cswin_base"].at((384, 384)).stripes == (1, 2, 12, 0)
    assert cswin.VARIANTS["cswin_base_384"].at((224, 224)) == cswin.VARIANTS["cswin_base"]


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (160, 32)])
def test_another_input_size_runs_with_the_trained_weights(size: tuple[int, int]) -> None:
    trained, resized = randomise(CSwinTransformer(SMALL)), CSwinTransformer(SMALL.at(size)).eval()
    resized.load_state_dict(cswin.FAMILY.adapt(trained.state_dict(), SMALL, SMALL.at(size)), strict=True)
    with torch.inference_mode():
        maps = resized.features(torch.randn(2, 3, *size))
        assert resized(torch.randn(2, 3, *size)).isfinite().all()
    assert [tuple(x.shape[2:]) for x in maps] == [SMALL.at(size).resolution(stage) for stage in range(4)]


@pytest.mark.parametrize("size", [(76, 60), (200, 200), (2, 2)])
def test_an_input_whose_maps_stripes_do_not_divide_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match=r"a map of \d+x\d+"):
        SMALL.at(size)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [({}, "cswin"), ({"slide_stages": (0, 1)}, "slide_cswin"), ({"slide_stages": (3,)}, "slide_cswin")],
)
def test_one_family_recognises_it(changes: dict[str, object], expected: str) -> None:
    state = meta(replace(SMALL, **changes)).state_dict()
    assert [family.name for family in FAMILIES if family.matches(state)] == [expected]


def test_slide_variants_slide_in_two_stages() -> None:
    model = meta(slide_cswin.VARIANTS["slide_cswin_tiny"])
    kinds = [
        type(block.attn if hasattr(block, "attn") else block) for block in model.get_submodule("stage2").children()
    ]
    assert kinds == [SlideAttention, SlideAttention]
    assert isinstance(model.get_submodule("stage3.0"), StripeBlock)


def test_lepe_is_an_option_of_slide_stages() -> None:
    model = meta(replace(SMALL, slide_stages=(0,), lepe=True))
    assert isinstance(model.get_submodule("stage1.0.attn"), LepeSlideAttention)
    assert model.state_dict()["stage1.0.attn.get_v.weight"].shape == (16, 1, 3, 3)
