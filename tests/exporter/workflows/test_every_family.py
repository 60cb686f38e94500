"""A small model of each family, to every target: proved, and a diagnosis shows its blocks and blames none of them."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from slide_export.backends import registry
from slide_export.backends.interface import ShowsValues
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import LoweringError, RequestError
from slide_export.core.request import ExportRequest
from slide_export.diagnosis import diagnose
from slide_export.models import FAMILIES, Config, Family
from slide_export.models.boat_cswin import BoatCSwinConfig
from slide_export.models.boat_swin import BoatSwinConfig
from slide_export.models.cbam import CbamConfig
from slide_export.models.config_tree import write_config
from slide_export.models.cswin import CSwinConfig
from slide_export.models.gam import GamConfig
from slide_export.models.mv_swin_t import MvSwinConfig
from slide_export.models.mvitv2 import MvitV2Config
from slide_export.models.nat import NatConfig
from slide_export.models.nbnet import NbNetConfig
from slide_export.models.pvt import PvtConfig
from slide_export.models.pvt_v2 import PvtV2Config
from slide_export.models.twins import TwinsConfig
from slide_export.workflows import export as pipeline
from tests.conftest import randomise
from tests.models import dat_configs
from tests.targets import batch_of, made_here

DEPTHS, HEADS = (1, 1, 1, 1), (2, 2, 4, 4)
CSWIN = CSwinConfig(16, DEPTHS, HEADS, stripes=(1, 2, 2, 0), image_size=(64, 64), num_classes=10)
NAT = NatConfig(16, DEPTHS, HEADS, 2.0, layer_scale=0.1, kernel_size=5, image_size=(64, 96), num_classes=10)
PVT = PvtConfig((16, 32, 48, 64), DEPTHS, (1, 2, 3, 4), image_size=(64, 96), num_classes=10)
PVT_V2 = PvtV2Config((16, 32, 48, 64), DEPTHS, (1, 2, 3, 4), image_size=(70, 64), num_classes=10)
TWINS = TwinsConfig((16, 32, 48, 64), (2, 2, 1, 1), (1, 2, 3, 4), image_size=(64, 96), num_classes=10)
CBAM = CbamConfig(DEPTHS, bottleneck=True, width=16, num_classes=10)
GAM = GamConfig(DEPTHS, bottleneck=False, width=16, image_size=(64, 96), num_classes=10)
SMALL: dict[str, Config] = {
    "cswin": CSWIN,
    "slide_cswin": CSwinConfig(16, DEPTHS, HEADS, CSWIN.stripes, (64, 64), 10, slide_stages=(0, 1), lepe=True),
    "nat": NAT,
    "slide_nat": NatConfig(16, DEPTHS, HEADS, 3.0, image_size=(64, 64), num_classes=10, slide_stages=(0, 1)),
    "pvt": PVT,
    "slide_pvt": replace(PVT, slide_stages=(0, 3), class_token=False),
    "pvt_v2": replace(PVT_V2, linear=True),
    "slide_pvt_v2": replace(PVT_V2, slide_stages=(0, 1)),
    "twins": replace(TWINS, windows=(4, 4, 2, 1)),
    "mvitv2": MvitV2Config(16, 4, 1, (1, 2, 3), image_size=(64, 96), num_classes=10),
    "dat": dat_configs.SMALL,
    "cbam": CBAM.at((224, 256)),
    "gam": GAM,
    "boat_swin": BoatSwinConfig(32, (2, 2), (2, 4), image_size=(56, 56), num_classes=10),
    "boat_cswin": BoatCSwinConfig(64, (2, 2), (2, 4), stripes=(7, 0), image_size=(56, 56), num_classes=10),
    "mv_swin_t": MvSwinConfig(8, DEPTHS, (1, 2, 2, 8), window=2, image_size=(64, 64), num_classes=10),
    "nbnet": NbNetConfig(width=4, depth=3, subspace=4, skip_width=8, image_size=(32, 48)),
}
"""Every block of the family: tiles with a margin and maps smaller than the neighbourhood, LePE on slide attention."""
MORE: dict[str, tuple[str, Config]] = {
    "twins_pcpvt": ("twins", TWINS),
    "mvitv2_widening_in_mlp": (
        "mvitv2",
        MvitV2Config(16, 4, 2, (1, 2, 3), widens_in_attention=False, image_size=(64, 64), num_classes=10),
    ),
    "dat_pp": ("dat", dat_configs.PLUS_PLUS),
    "cbam_cifar": ("cbam", replace(CBAM, bottleneck=False, cifar=True, image_size=(32, 32))),
    "gam_a_plain": ("gam", replace(GAM, dialect="a_plain")),
    "gam_b": ("gam", replace(GAM, dialect="b", bottleneck=True)),
    "gam_c": ("gam", replace(GAM, dialect="c")),
}
"""Forms of a family that differ by more than numbers."""
FORMS = {name: (name, config) for name, config in SMALL.items()} | MORE
BLOCK = re.compile(r"(.+)\.(?:norm2|norm2_1|bn2)|(stages\.\d+\.attns\.\d+|(?:up|down)_path\.\d+)")
"""Of DAT, whose blocks are no modules, the attention; of NBNet, the levels."""


OF_NAT = frozenset({"levels.0.blocks.0", "levels.1.blocks.0", "levels.2.blocks.0"})
OF_PVT = frozenset({"block1.0", "block2.0", "block3.0"})
OF_GAM = frozenset({"layer1.0", "layer2.0", "layer3.0"})
OF_CSWIN = frozenset({"stage1.0", "stage2.0", "stage3.0"})
HIDDEN = {
    ("executorch", "boat_swin"): frozenset({"layers.0.blocks.1"}),
    ("executorch", "boat_cswin"): frozenset({"stage1.1"}),
    ("executorch", "cswin"): OF_CSWIN,
    ("executorch", "slide_cswin"): OF_CSWIN,
    ("executorch", "nat"): OF_NAT,
    ("executorch", "slide_nat"): OF_NAT,
    ("executorch", "pvt"): OF_PVT,
    ("executorch", "slide_pvt"): OF_PVT,
    ("executorch", "gam"): OF_GAM,
    ("executorch", "gam_a_plain"): OF_GAM,
    ("ncnn", "nbnet"): frozenset({"down_path.0", "down_path.1"}),
}
"""Blocks whose sum is inside a part that XNNPACK runs, which shows nothing: a convolution takes the last of a stage. Of
NBNet's, by their names in ncnn, what halves the map behind them is the last value."""
ALL_HIDDEN = {("executorch", stem) for stem in ("twins", "twins_pcpvt", "dat", "dat_pp", "nbnet")}
"""Each block ends in such a part: Twins' before a convolution for positions, DAT's attention and NBNet's levels too."""


def family(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


@pytest.fixture(scope="module", params=FORMS)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (name, config), path = FORMS[request.param], tmp_path_factory.mktemp("small") / f"{request.param}.pth"
    torch.manual_seed(0)
    state = randomise(family(name).build(config)).state_dict()
    torch.save({"model": state, "config": write_config(config, name)}, path)
    return path


def prove(checkpoint: Path, target: str, precision: str, out: Path) -> None:
    io = ModelIO(batch=batch_of(target))
    recipe = ExportRequest(checkpoint, target=target, precision=precision, out=out, image_count=2, interface=io)
    bundle = pipeline.export(recipe)
    assert bundle.manifest.parity.passed
    assert bundle.manifest.parity.top1 == (None if bundle.manifest.task == "restore" else 1.0)
    if not isinstance(registry.load(target), ShowsValues):
        with pytest.raises(RequestError, match=f"diagnose is not available for {target}"):
            diagnose(bundle.path, checkpoint)
        return
    found = diagnose(bundle.path, checkpoint)
    assert found.culprit is None
    modules = [name for name, _ in load_checkpoint(checkpoint).module.named_modules()]
    blocks = {m[1] or m[2] for name in modules if (m := BLOCK.fullmatch(name))}
    assert len(blocks) >= sum(DEPTHS)
    shown = {row.module for row in found.rows}
    # A block that hands on a list of maps, one a view, has no value of its own: what it adds last stands for it.
    last = ("norm2", "norm2_1") if bundle.manifest.task == "classify_views" else ()
    around = {
        block: {block, block.partition(".")[0], block.rpartition(".")[0], *(f"{block}.{name}" for name in last)}
        for block in blocks
    }
    hidden = {block for block, names in around.items() if not names & shown}  # a stage of one block is it
    key = target, checkpoint.stem
    assert hidden == (blocks if key in ALL_HIDDEN else HIDDEN.get(key, frozenset()))
    assert shown


def test_family_is_proved_in_onnx(small: Path, tmp_path: Path) -> None:
    prove(small, "onnx", "fp32", tmp_path)


NOT_CONVERTED: dict[tuple[str, ...], str] = {
    ("coreai", "boat_swin"): "expected a target that shows the order that .* sorts by",
    ("coreai", "boat_cswin"): "expected a target that shows the order that .* sorts by",
    ("ncnn", "cswin"): "it fails in the Reshape of stage2.0",
    ("ncnn", "dat"): r"does not have: Tensor\.reshape",
    ("ncnn", "dat_pp"): "does not have: ",
    ("ncnn", "boat_swin"): r"does not have: .*torch\.topk",
    ("ncnn", "boat_cswin"): "ncnn has no batch axis",
    ("executorch", "nbnet", "fp16"): "expected a model that float16 holds for executorch, nbnet keeps up_path",
}
"""What a target does not express of a family, or not in a precision, by the words of its refusal."""


@pytest.mark.slow
@pytest.mark.parametrize(("target", "precision"), made_here(("fp32", "fp16")))
def test_family_is_proved_everywhere(small: Path, target: str, precision: str, tmp_path: Path) -> None:
    reason = NOT_CONVERTED.get((target, small.stem)) or NOT_CONVERTED.get((target, small.stem, precision))
    if reason is None:
        prove(small, target, precision, tmp_path)
        return
    with pytest.raises((LoweringError, RequestError), match=reason):
        prove(small, target, precision, tmp_path)
    assert list(tmp_path.iterdir()) == []
