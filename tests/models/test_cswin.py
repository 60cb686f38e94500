"""CSwin's configurations, input sizes and preprocessing, and Slide-CSwin's options."""

from dataclasses import replace

import pytest
import torch

from slide_export.models import FAMILIES, ShapeError, cswin, family_of, slide_cswin
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
        {"slide_stages": (0, 1)},
        {"slide_stages": (1, 3), "kernel_size": 5, "lepe": True},
    ],
)
def test_infer_reads_the_model_from_its_shapes(changes: dict[str, object]) -> None:
    config = replace(cswin.VARIANTS["cswin_base"], **changes)
    inferred = cswin.infer(meta(config).state_dict())
    open_stripes = tuple(7 if stage in config.slide_stages else width for stage, width in enumerate(config.stripes))
    assert replace(inferred, stripes=config.stripes) == config
    assert all(a == b or 7 in (a, b) for a, b in zip(inferred.stripes, open_stripes, strict=True))


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


@pytest.mark.parametrize(("config", "scale"), [("cswin_base", 1 / 0.9), ("cswin_base_384", 1.0)])
def test_from_384_on_nothing_is_cropped(config: str, scale: float) -> None:
    data = cswin.read_data(None, cswin.VARIANTS[config])
    assert (data.scale, data.keep_aspect, data.interpolation) == (scale, True, "bicubic")
    assert data.resized((224, 224)) == ((248, 248) if scale > 1 else (224, 224))


@pytest.mark.parametrize("size", [(64, 96), (76, 60), (97, 64)])
def test_any_input_size_runs_with_the_trained_weights(size: tuple[int, int]) -> None:
    trained, resized = randomise(CSwinTransformer(SMALL)), CSwinTransformer(SMALL.at(size)).eval()
    resized.load_state_dict(cswin.adapt(trained.state_dict(), SMALL, SMALL.at(size)), strict=True)
    with torch.inference_mode():
        maps = resized.features(torch.randn(2, 3, *size))
        assert resized(torch.randn(2, 3, *size)).isfinite().all()
    assert [tuple(x.shape[2:]) for x in maps] == [SMALL.at(size).resolution(stage) for stage in range(4)]


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
    assert family_of("slide_cswin_base").read_data(None, model).keep_aspect is False


def test_lepe_is_an_option_of_slide_stages() -> None:
    model = meta(replace(SMALL, slide_stages=(0,), lepe=True))
    assert isinstance(model.get_submodule("stage1.0.attn"), LepeSlideAttention)
    assert model.state_dict()["stage1.0.attn.get_v.weight"].shape == (16, 1, 3, 3)
