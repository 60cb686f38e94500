"""Each small upstream model as each target computes it: upstream's own outputs, within a few times their own noise."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slide_export.backends import registry as backends
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import ModelIO
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import FP32
from slide_export.graph.export import export_module
from slide_export.inference.forms import SAMPLINGS
from slide_export.mil import Evaluator, Package
from slide_export.mil import convert as mil
from slide_export.models.dat import Dat
from slide_export.proof.session import open_session
from tests.exporter.checkpoint import test_formats as formats
from tests.models import test_dat, test_mvitv2, test_systems_golden, test_twins
from tests.models.golden_recipe import Case, case

NOISE_MULTIPLE = 8
"""Largest error over what float32 costs upstream's own code in the case: sums are in another order."""
TOLERANCE = 1e-5
"""Largest error over the output's standard deviation."""

INPUT, COREML = "input", "coreml"
Golden = tuple[Case, nn.Module]


class Outputs(nn.Module):
    """The inference form of a model, giving a tuple whether it has logits or maps."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run it on x [B, C, H, W]."""
        found = self.module(x)
        return found if isinstance(found, tuple) else (found,)


def upstream(build: Callable[[Case], nn.Module], name: str) -> Golden:
    golden = case(name)
    return golden, build(golden)


def sampled(form: str, name: str) -> Golden:
    golden, model = upstream(test_dat.upstream, name)
    fused = test_systems_golden.fused(model)
    assert isinstance(fused, Dat)
    return golden, test_dat.sampled(fused, form)


def probabilities(name: str) -> Golden:
    """An MViTv2 as upstream runs it, with a softmax behind the logits: the case's noise is that of probabilities."""
    golden, model = upstream(test_mvitv2.upstream, name)
    return golden, nn.Sequential(model, nn.Softmax(dim=1))


def of_library(name: str, folder: Path) -> Golden:
    drawn, model = formats.load_svt(folder) if name == "mmpretrain_svt" else formats.load(name, folder)
    return drawn, model.module


SYSTEMS: dict[str, Callable[[], Golden]] = {
    **{name: partial(upstream, test_twins.upstream, name) for name in (*test_twins.CLASSIFIERS, *test_twins.BACKBONES)},
    **{name: partial(probabilities, name) for name in test_mvitv2.CASES},
    **{f"{name}-{form}": partial(sampled, form, name) for name in test_dat.CASES for form in SAMPLINGS},
    **{
        name: partial(test_systems_golden.load, name)
        for name in test_systems_golden.BUILD
        if name.startswith(("cbam", "gam"))
    },
}
LIBRARIES = ("mmpretrain_mvit", "mmpretrain_pcpvt", "mmpretrain_svt", "timm_mvitv2", "timm_twins_pcpvt")
"""Of the sixth, timm's MViTv2 with a class token, `test_formats.py` has the refusal."""
MODULES = [name for name in backends.names() if name == COREML or backends.load(name).ACCEPTS is OnnxGraph]
"""Targets that take a bare module; the others take a served model, and prove the families by their bundles."""
FAST = ("twins_svt", "mvitv2_l", "dat_far-hats", "cbam_basic", "gam_b")
"""One a family; what every target computes of every case takes minutes."""


def computed(module: nn.Module, x: Tensor, target: str, folder: Path) -> list[Any]:
    """Outputs for images x [B, C, H, W] of what a target makes of a module."""
    module = Outputs(test_systems_golden.fused(module)).eval()
    with torch.inference_mode():
        names = tuple(f"output{n}" for n in range(len(module(x))))
    if target == COREML:
        form = mil.Form((INPUT,), tuple(x.shape[1:]), (len(x),), False, names, (), "fp32", "iOS17")
        mil.save(module, folder / "model.mlpackage", form, {})
        found = Evaluator(Package.read(folder / "model.mlpackage")).run({INPUT: x.numpy()})
    else:
        backend = backends.load(target)
        assert backend.ACCEPTS is OnnxGraph
        options = LoweringOptions(FP32, ModelIO(), backends.complete_options(target, {}))
        graph = export_module(module, (torch.zeros_like(x),), (INPUT,), names)
        artifact = backend.lower(graph, folder, options)
        session = open_session(backend, artifact.path, artifact.graph, artifact.settings)
        found = session.run({INPUT: x.numpy()})
    return [np.asarray(found[name]) for name in names]


def expected(golden: Case, count: int) -> list[Any]:
    """Upstream's outputs in the module's order: one of the whole model or block, or the maps of the stages."""
    if count > 1:
        return [golden.outputs[f"feature.stage{n}"] for n in range(1, count + 1)]
    return [next(golden.outputs[name] for name in ("probabilities", "logits", "output") if name in golden.outputs)]


def refuse_difference(golden: Case, module: nn.Module, target: str, folder: Path) -> None:
    found = computed(module, golden.inputs["input"], target, folder)
    for ours, theirs in zip(found, expected(golden, len(found)), strict=True):
        error = np.abs(ours.astype(np.float64) - theirs.reshape(ours.shape)).max()
        assert error <= min(NOISE_MULTIPLE * golden.meta["noise_f32_vs_f64"], TOLERANCE * theirs.std())


@pytest.mark.parametrize("name", FAST)
def test_onnx_runtime_gives_upstreams_outputs(name: str, tmp_path: Path) -> None:
    refuse_difference(*SYSTEMS[name](), "onnx", tmp_path)


def test_one_changed_weight_is_a_difference(tmp_path: Path) -> None:
    golden, model = SYSTEMS["cbam_cifar"]()
    with torch.no_grad():
        next(model.parameters()).flatten()[0] *= 1.01
    with pytest.raises(AssertionError):
        refuse_difference(golden, model, "onnx", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", MODULES)
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_target_gives_upstreams_outputs(name: str, target: str, tmp_path: Path) -> None:
    refuse_difference(*SYSTEMS[name](), target, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("target", MODULES)
@pytest.mark.parametrize("name", LIBRARIES)
def test_every_target_gives_the_librarys_outputs(name: str, target: str, tmp_path: Path) -> None:
    refuse_difference(*of_library(name, tmp_path), target, tmp_path)
