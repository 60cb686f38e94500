"""A precision that destroys a model is refused at its floor, by the module where it does; no sound one is."""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.calibration.images import bundled
from slide_export.calibration.quantization import NumericFormat
from slide_export.calibration.recipe import parse
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import ParityError
from slide_export.core.model import Model
from slide_export.core.precision import FP16, FP32, INT8, Precision
from slide_export.core.proof import Reference
from slide_export.inference.served import ServedModel, serve
from slide_export.models.config_tree import write_config
from slide_export.proof import floor, parity
from slide_export.proof.first_loss import FirstLoss
from slide_export.proof.floor import held, refuse_unheld
from slide_export.proof.reference import with_floor
from tests.conftest import randomise, reference_of
from tests.exporter.workflows.test_every_family import SMALL, family

IMAGES = bundled().spread(4)
Plant = Callable[[nn.Module], None]


def with_floor_of(model: Model, precision: Precision, io: ModelIO = ModelIO()) -> tuple[ServedModel, Reference]:  # noqa: B008
    return serve(model, io), reference_of(model, IMAGES, io, precision.name)


def planted(model: Model, plant: Plant) -> Model:
    module = copy.deepcopy(model.module)
    with torch.no_grad():
        plant(module)
    return replace(model, module=module)


def offset(value: float) -> Plant:
    """A bias that the residual stream carries to the end, and LayerNorm takes away again."""
    return lambda module: module.get_parameter("layers.0.blocks.0.mlp.fc2.bias").add_(value)


def times(name: str, factor: float) -> Plant:
    return lambda module: module.get_parameter(name).mul_(factor)


def large_values(module: nn.Module) -> None:
    """v times a million, and the projection behind it a millionth: the same mathematics."""
    attention = module.get_submodule("layers.3.blocks.0.attn")
    for part in (attention.qkv.weight, attention.qkv.bias):
        part[-part.shape[0] // 3 :] *= 1e6
    attention.proj.weight *= 1e-6


PLANTED = {
    "offset_1000": (FP16, offset(1e3), "1,00. in layers.0.blocks.0.mlp.fc2, of which rounding leaves .* take fp32$"),
    "offset_5000": (FP16, offset(5e3), "5,00. in layers.0.blocks.0.mlp.fc2, of which rounding leaves"),
    "offset_20000": (
        FP16,
        offset(2e4),
        "(19,999|20,000|20,001) in layers.0.blocks.0.mlp.fc2, of which rounding leaves",
    ),
    "offset_3e8": (FP32, offset(3e8), "3e.08 in layers.0.blocks.0.mlp.fc2, of which rounding leaves"),
    "head_bias": (FP16, lambda m: m.get_parameter("head.bias").add_(1e3), "1,00. in head, of which rounding leaves"),
    "head_times_1e5": (FP16, times("head.weight", 1e5), "in head, where 65,504 is the largest value; take fp32$"),
    "head_times_1e39": (FP32, times("head.weight", 1e39), "a value beyond 3.4e.38, the largest, inside head; train it"),
    "scores": (
        FP16,
        times("layers.3.blocks.0.attn.qkv.weight", 300),
        "a value beyond 65,504, the largest, inside layers.3.blocks.0.attn; take fp32$",
    ),
    "values": (
        FP16,
        large_values,
        "in layers.3.blocks.0.attn.qkv, where 65,504 is the largest value; take fp32, or keep that module in float "
        r"\(keep_fp32 layers.3.blocks.0.attn\)$",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_loss_is_named_with_its_module(name: str, model: Model) -> None:
    precision, plant, words = PLANTED[name]
    served, reference = with_floor_of(planted(model, plant), precision)
    with pytest.raises(ParityError, match=f"^{precision} cannot hold this model: .*{words}"):
        refuse_unheld(served, reference, NumericFormat(precision))


@pytest.mark.parametrize("precision", [FP32, FP16])
@pytest.mark.parametrize("io", [ModelIO(), ModelIO(softmax=True), ModelIO(features=True)])
def test_a_sound_model_is_held_whatever_it_gives(io: ModelIO, precision: Precision, model: Model) -> None:
    assert held(*with_floor_of(model, precision, io), NumericFormat(precision))


@pytest.mark.parametrize("trained", [True, False])
@pytest.mark.parametrize("name", SMALL)
def test_a_small_model_of_every_family_is_held(name: str, trained: bool, tmp_path: Path) -> None:
    """With weights as training could have left them, and as they were before: then no class is told from another."""
    torch.manual_seed(0)
    module = family(name).build(SMALL[name])
    state = (randomise(module) if trained else module).state_dict()
    torch.save({"model": state, "config": write_config(SMALL[name], name)}, tmp_path / "small.pth")
    served = serve(load_checkpoint(tmp_path / "small.pth"), ModelIO())
    reference = reference_of(served.trained, bundled().spread(2 * len(served.input_names)), ModelIO(), "fp16")
    assert held(served, reference, NumericFormat(FP16))
    (exact,) = reference.exact.values()
    assert parity.centred(exact, served.task.decision_axis).any()
    single = NumericFormat(FP32)
    assert held(served, with_floor(served, reference, single), single)


def test_a_floor_that_is_no_number_is_infinitely_near(model: Model) -> None:
    served, reference = with_floor_of(model, FP16)
    with np.errstate(invalid="ignore"):
        lost = replace(reference, rounded={"logits": np.full_like(reference.rounded["logits"], np.nan)})
    assert floor._centred_db(served, lost, slice(None)) == -math.inf


def test_a_floor_that_is_just_far_enough_below_is_held(model: Model) -> None:
    served, reference = with_floor_of(model, FP16)
    found = floor._centred_db(served, reference, slice(None))
    assert held(served, reference, NumericFormat(replace(FP16, least_db=found)))
    assert not held(served, reference, NumericFormat(replace(FP16, least_db=float(np.nextafter(found, 1e9)))))


@pytest.mark.parametrize(("largest", "said"), [(65504.0, "a value beyond 65,504"), (65505.0, "65,505 in head, where")])
def test_the_largest_value_of_a_type_is_none_beyond_it(largest: float, said: str) -> None:
    assert floor._found(FirstLoss("head", largest, math.nan), NumericFormat(FP16)).startswith(said)


def test_a_loss_is_looked_for_in_the_image_that_has_it(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The third is off; the second tells its classes apart by so little that any noise beside it would be worse."""
    served, reference = with_floor_of(model, FP16)
    exact = reference.exact["logits"].copy()
    exact[1] *= 1e-6
    rounded = exact.copy()
    rounded[2] += 1e-3 * np.arange(exact.shape[1])
    seen: list[np.ndarray] = []

    def found(*arguments: Any) -> FirstLoss:
        seen.append(arguments[3][0].numpy())
        return FirstLoss("", 0.0, math.inf)

    monkeypatch.setattr(floor, "first_loss", found)
    floor._located(
        served, replace(reference, exact={"logits": exact}, rounded={"logits": rounded}), NumericFormat(FP16)
    )
    assert np.array_equal(seen[0], reference.feeds["images"][2:3])


@pytest.mark.parametrize(
    ("value", "written"),
    [(9.994, "9.99"), (10.4, "10"), (12_345.6, "12,346"), (9_999_999.0, "9,999,999"), (1e7, "1e+07"), (0.5, "0.5")],
)
def test_a_number_is_written_as_people_read_it(value: float, written: str) -> None:
    assert floor._number(value) == written


def test_what_a_grid_costs_is_judged_on_the_artifact_alone(model: Model) -> None:
    served, reference = with_floor_of(model, FP32)
    recipe = parse("library: onnxruntime\nactivations: asymmetric\nmin_sqnr_db: 20\nmin_top1: 0.9\n", "a recipe")
    eight = NumericFormat(INT8, recipe)
    noisy = replace(reference, rounded={"logits": -reference.exact["logits"]})
    assert held(served, noisy, eight)
    assert not held(served, noisy, NumericFormat(FP32))
    broken = replace(reference, rounded={"logits": np.full_like(reference.exact["logits"], np.nan)})
    assert not held(served, broken, eight)
