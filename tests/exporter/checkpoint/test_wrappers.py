"""The weights of a training file: which set of tensors, raw or averaged, and without which prefix."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
from torch import Tensor

from slide_export.checkpoint.wrappers import unwrap
from slide_export.core.errors import CheckpointError, RequestError

State = dict[str, Tensor]
STATE: State = {
    "patch_embed.proj.weight": torch.ones(2, 3),
    "layers.0.blocks.0.norm1.weight": torch.ones(3),
    "layers.0.blocks.0.norm1.bias": torch.ones(3),
    "layers.0.blocks.0.mlp.fc1.weight": torch.ones(3),
    "layers.0.blocks.0.mlp.fc1.bias": torch.ones(3),
    "head.weight": torch.ones(2, 3),
}
AVERAGE = {key: value * 2 for key, value in STATE.items()}


def prefixed(prefix: str, state: State = STATE) -> State:
    return {f"{prefix}{key}": value for key, value in state.items()}


def opened(content: Any, weights: str = "raw", key: str | None = None) -> Any:
    return unwrap(content, weights, key, "run.pth")


def read(content: Any, weights: str = "raw", key: str | None = None) -> State:
    return {name: tensor.read() for name, tensor in opened(content, weights, key).tensors.items()}


def is_(found: State, expected: State) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[key], value) for key, value in expected.items())


WRAPPERS = (
    "model", "state_dict", "model_state", "model_state_dict", "net", "network", "weights", "params", "module",
    "classifier", "generator", "my_best_model",
)  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_any_name_of_one_set_of_tensors(wrapper: str) -> None:
    found = opened({wrapper: STATE, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "epoch": 3})
    assert (found.wrapper, found.prefix) == (wrapper, "")
    assert found.notes == (f"weights from {wrapper!r}",)


PREFIXES = (
    "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "module.module.", "model.", "net.",
    "network.", "timm_model.", "model.net.", "backbone.", "_forward_module.model.",
)  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_prefixes_are_removed_and_said(prefix: str) -> None:
    found = opened({"state_dict": prefixed(prefix)})
    assert is_(read({"state_dict": prefixed(prefix)}), STATE)
    assert found.prefix == prefix
    assert any("removed the prefix" in note for note in found.notes)


@pytest.mark.parametrize("wrapper", ["_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module._orig_mod."])
def test_wrappers_within_the_names_are_removed_and_said(wrapper: str) -> None:
    name = next(name for name in STATE if "." in name)
    inside = {other.replace(".", f".{wrapper}", 1) if other == name else other: one for other, one in STATE.items()}
    assert is_(read({"model": inside}), STATE)
    assert any("from within the names of 1 keys" in note for note in opened({"model": inside}).notes)
    doubled = {**STATE, **inside}
    assert read({"model": doubled}).keys() == doubled.keys()


def test_a_lightning_module_has_its_model_beside_losses_and_averages() -> None:
    module = {**prefixed("model."), "criterion.weight": torch.ones(2)}
    found = opened({"state_dict": module, "pytorch-lightning_version": "2.6.6", "epoch": 1})
    assert (found.prefix, found.dropped) == ("model.", ("criterion.weight",))
    both = {"state_dict": {**prefixed("model."), **prefixed("ema_model.", AVERAGE)}}
    assert is_(read(both), STATE)
    assert is_(read(both, "ema"), AVERAGE)


def knows(names: Collection[str]) -> bool:
    return "patch_embed.proj.weight" in names


@pytest.mark.parametrize("prefix", ["classifier.", "swin.", "my_net.", "model.my_net.", "a.b."])
def test_any_prefix_is_removed_before_a_known_model(prefix: str) -> None:
    found = unwrap({"state_dict": prefixed(prefix)}, "raw", None, "run.pth", knows)
    assert (found.prefix, list(found.tensors)) == (prefix, list(STATE))
    beside = {**prefixed(prefix), **{f"perceptual.{n}.weight": torch.ones(2) for n in range(60)}}
    among = unwrap({"state_dict": beside}, "raw", None, "run.pth", knows)
    assert (among.prefix, len(among.dropped)) == (prefix, 60)


def test_a_body_keeps_its_prefix_where_the_head_is_beside_it_or_a_detector() -> None:
    body = {key: value for key, value in STATE.items() if not key.startswith("head.")}
    for content in (
        {**prefixed("swin.", body), "classifier.weight": torch.ones(2, 3)},
        {**prefixed("backbone."), "decode_head.conv.weight": torch.ones(2)},
    ):
        assert unwrap(content, "raw", None, "run.pth", knows).prefix == ""


def test_two_models_side_by_side_are_listed_and_one_is_named() -> None:
    content = {"state_dict": {**prefixed("net."), **prefixed("critic.", AVERAGE)}, "epoch": 1}
    with pytest.raises(CheckpointError, match="whose names begin with 'net', 'critic': name one with weights_key"):
        unwrap(content, "raw", None, "run.pth", knows)
    assert is_(read(content, key="state_dict.critic"), AVERAGE)
    assert is_(read(content["state_dict"], key="net"), STATE)


def test_mmcvs_averages_and_raw_weights_stand_in_one_set() -> None:
    raw = {f"ema_{key.replace('.', '_')}": value for key, value in STATE.items()}
    content = {"meta": {"mmcv_version": "1.7"}, "state_dict": {**AVERAGE, **raw}}
    assert is_(read(content), STATE)
    assert is_(read(content, "ema"), AVERAGE)


def test_an_averaged_model_loses_its_counter() -> None:
    averaged = {"n_averaged": torch.tensor(7), **prefixed("module.")}
    for content in (averaged, {"state_dict": averaged}):
        found = opened(content)
        assert is_({name: tensor.read() for name, tensor in found.tensors.items()}, STATE)
        assert found.dropped == ("n_averaged",)
        assert "the weights are an average (AveragedModel)" in found.notes
        assert is_(read(content, "ema"), STATE)
    assert is_(read({"model": STATE, "model_ema": averaged}, "ema"), STATE)


EMA: dict[str, Any] = {
    "timm": {"state_dict": STATE, "state_dict_ema": AVERAGE},
    "ema": {"model": STATE, "ema": AVERAGE},
    "params": {"params": STATE, "params_ema": AVERAGE},
    "averages a level deeper": {"model": STATE, "model_ema": {"module": AVERAGE, "decay": 0.99}},
    "averages as a shadow": {"model": STATE, "ema": {"decay": 0.99, "shadow": AVERAGE}},
    "DINO": {"student": prefixed("module.backbone."), "teacher": prefixed("backbone.", AVERAGE)},
    "mmengine": {
        "state_dict": AVERAGE,
        "ema_state_dict": {"steps": torch.tensor(9), **prefixed("module.")},
        "meta": {"mmengine_version": "0.10.7"},
    },
    "Lightning": {"state_dict": AVERAGE, "current_model_state": STATE},
}


@pytest.mark.parametrize("name", EMA)
def test_raw_and_ema_mean_what_they_say_in_each(name: str) -> None:
    assert is_(read(EMA[name]), STATE)
    assert is_(read(EMA[name], "ema"), AVERAGE)


@pytest.mark.parametrize("names", [("a",), ("a", "b"), ("checkpoint", "model", "state_dict"), ("a", "b", "c", "d")])
def test_weights_are_found_up_to_four_levels_deep(names: tuple[str, ...]) -> None:
    content: Any = STATE
    for name in reversed(names):
        content = {name: content, "epoch": 3}
    found = opened(content)
    assert (found.wrapper, found.tensors.keys()) == (".".join(names), STATE.keys())
    with pytest.raises(CheckpointError, match="no set of tensors"):
        opened({"a": {"b": {"c": {"d": {"e": STATE}}}}})


def test_counters_alone_are_no_weights() -> None:
    found = opened({"state_dict": STATE, "averaging_state": {"n_averaged": torch.tensor(3)}})
    assert found.notes == ("weights from 'state_dict'",)


def test_several_sets_are_listed_and_one_is_named() -> None:
    content = {"model": STATE, "state_dict": AVERAGE}
    with pytest.raises(
        CheckpointError, match=r"'model' \(6 tensors\), 'state_dict' \(6 tensors\): name one with weights_key"
    ):
        opened(content)
    assert is_(read(content, key="state_dict"), AVERAGE)
    nested = {"models": {"generator": STATE, "critic": AVERAGE}}
    with pytest.raises(CheckpointError, match=r"'models.generator' .*'models.critic' .*weights_key"):
        opened(nested)
    assert is_(read(nested, key="models.critic"), AVERAGE)
    with pytest.raises(
        CheckpointError, match=r"expected tensors under 'best'.* under 'models.generator', 'models.critic'"
    ):
        opened(nested, key="best")


def test_another_set_beside_the_weights_is_mentioned() -> None:
    found = opened({"model": STATE, "critic": AVERAGE})
    assert found.wrapper == "model"
    assert any("'critic'" in note for note in found.notes)


def test_what_is_no_tensor_among_the_weights_is_left_out_by_name() -> None:
    assert opened({**STATE, "epoch": 3}).dropped == ("epoch (no tensor)",)
    extra = {"model": {**STATE, "_step": 5, "layers.0._extra_state": None}}
    assert opened(extra).dropped == ("_step (no tensor)", "layers.0._extra_state (no tensor)")
    profiled = {**STATE, "total_ops": torch.ones(1), "layers.0.total_params": torch.ones(1)}
    assert opened(profiled).dropped == ("total_ops", "layers.0.total_params")


REFUSED: dict[str, tuple[Any, str]] = {
    "optimizer": ({"optimizer": {"state": {}}, "epoch": 3}, "the state of a training without its model"),
    "state of an optimizer": (
        {"state": {0: {"step": torch.ones(1)}}, "param_groups": []},
        "training without its model",
    ),
    "nothing": ({}, "found nothing, and no set of tensors"),
    "numbers as names": ({0: torch.ones(3)}, "no set of tensors"),
    "values": ({"lr": 0.1, "name": "swin"}, "no set of tensors in them"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_files_without_weights_are_told_by_what_they_are(name: str) -> None:
    content, sentence = REFUSED[name]
    with pytest.raises(CheckpointError, match=sentence):
        opened(content)


def test_an_average_that_is_not_there() -> None:
    with pytest.raises(CheckpointError, match=r"found 'model'; it has 'model': ask for weights raw"):
        opened({"model": STATE}, "ema")
    with pytest.raises(CheckpointError, match=r"it has 'model_ema': ask for weights ema"):
        opened({"model_ema": AVERAGE})
    with pytest.raises(RequestError, match="raw or ema"):
        opened({"model": STATE}, "best")


def test_parameters_are_tensors() -> None:
    wrap: Callable[[Tensor], Tensor] = torch.nn.Parameter
    assert is_(read({"model": {key: wrap(value) for key, value in STATE.items()}}), STATE)


@pytest.mark.parametrize("value", [None, [1, 2], 3, {"w": torch.zeros(2)}], ids=["none", "list", "number", "mapping"])
def test_what_a_module_has_in_the_place_of_a_tensor_is_refused(value: object) -> None:
    """An index that the loader rebuilds would else be taken as if the file had none."""
    name = f"{next(name for name in STATE if '.' in name).rpartition('.')[0]}.index"
    with pytest.raises(CheckpointError, match=f"expected a tensor under '{name}' in .*, found {type(value).__name__}"):
        opened({**STATE, name: value})
