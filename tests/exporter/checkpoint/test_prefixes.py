"""Wrappers' prefixes go, one after another; what counts weights or stands beside them is none of the model's."""

from collections.abc import Collection

import pytest
import torch

from slide_export.checkpoint.prefixes import (
    AVERAGED_PREFIXES,
    COUNTERS,
    EXTRA_STATE,
    PREFIXES,
    PROFILED,
    is_counter,
    nothing_known,
    without_inner_wrappers,
    without_prefix,
)
from slide_export.checkpoint.tensor_files import StoredTensor
from slide_export.core.errors import CheckpointError

NAMES = ("patch_embed.proj.weight", "layers.0.norm.weight", "layers.0.norm.bias", "head.weight")


def stored(shape: tuple[int, ...] = (2,)) -> StoredTensor:
    value = torch.ones(shape)
    return StoredTensor(value, lambda: value)


def tensors(*names: str) -> dict[str, StoredTensor]:
    return {name: stored() for name in names}


def prefixed(prefix: str) -> dict[str, StoredTensor]:
    return tensors(*(prefix + name for name in NAMES))


def opened(found: dict[str, StoredTensor], weights: str = "raw") -> tuple[list[str], str, list[str], list[str]]:
    """Names, the prefix, what is left out, and what was said."""
    notes: list[str] = []
    inside, removed, outside = without_prefix(found, weights, notes, nothing_known)
    return list(inside), removed, outside, notes


def known(names: Collection[str]) -> bool:
    return "patch_embed.proj.weight" in names


@pytest.mark.parametrize("prefix", [*PREFIXES, *AVERAGED_PREFIXES, "encoder."])
def test_each_wrappers_prefix_is_removed_from_every_name(prefix: str) -> None:
    names, removed, outside, notes = opened(prefixed(prefix))
    assert (names, removed, outside) == (list(NAMES), prefix, [])
    assert notes == [f"removed the prefix {prefix!r} of every key"]


def test_encoder_goes_only_before_official_names() -> None:
    assert opened(tensors("encoder.conv.weight", "encoder.head.weight"))[1] == ""
    assert opened({**prefixed("encoder."), **tensors("decoder.weight")})[1] == ""


def test_names_without_a_prefix_stay() -> None:
    assert opened(tensors(*NAMES)) == (list(NAMES), "", [], [])
    assert opened({}) == ([], "", [], [])


@pytest.mark.parametrize(("inside", "beside", "prefix"), [(5, 1, "model."), (4, 1, ""), (9, 2, "model."), (8, 2, "")])
def test_the_largest_group_is_the_model_where_the_rest_is_less_than_a_quarter(
    inside: int, beside: int, prefix: str
) -> None:
    names = [f"model.layers.{n}" for n in range(inside)]
    others = [f"loss.{n}" for n in range(beside)]
    _, removed, outside, _ = opened(tensors(*names, *others, "scale"))  # without a dot it is in no group
    assert removed == prefix
    assert outside == ([*others, "scale"] if prefix else [])


def test_averages_are_taken_where_they_are_asked_for() -> None:
    both = {**prefixed("net."), **prefixed("ema_model.")}
    assert opened(both)[1] == "net."
    assert opened(both, "ema")[1] == "ema_model."
    single = {**prefixed("net."), **tensors("ema.decay")}  # one number is no set of averages
    assert opened(single, "ema")[1] == ""


def test_a_backbone_is_no_group_beside_its_head() -> None:
    assert opened({**prefixed("backbone."), **tensors("fc.weight")})[1] == ""


def test_a_known_model_is_found_under_any_name_and_two_are_refused() -> None:
    notes: list[str] = []
    among = {**prefixed("mine.swin."), **tensors("critic.weight", "critic.bias")}
    inside, removed, outside = without_prefix(among, "raw", notes, known)
    assert (list(inside), removed) == (list(NAMES), "mine.swin.")
    assert outside == ["critic.weight", "critic.bias"]
    with pytest.raises(CheckpointError, match="whose names begin with 'a', 'b': name one with weights_key"):
        without_prefix({**prefixed("a."), **prefixed("b.")}, "raw", [], known)
    headless = {name: one for name, one in prefixed("body.").items() if "head" not in name}
    assert without_prefix({**headless, **tensors("score.weight")}, "raw", [], known)[1] == ""


def test_wrappers_inside_go_unless_two_names_would_be_one() -> None:
    notes: list[str] = []
    wrapped = tensors("layers.0._orig_mod.norm.weight", "layers.1._fsdp_wrapped_module._orig_mod.norm.weight", "a.b")
    assert list(without_inner_wrappers(wrapped, notes)) == ["layers.0.norm.weight", "layers.1.norm.weight", "a.b"]
    assert notes == ["removed _fsdp_wrapped_module._orig_mod, _orig_mod from within the names of 2 keys"]
    doubled = {**wrapped, **tensors("layers.0.norm.weight")}
    assert without_inner_wrappers(doubled, notes) is doubled
    first = tensors("_orig_mod.layers.0.weight")  # at the front it is a prefix
    assert without_inner_wrappers(first, notes) is first
    assert len(notes) == 1


@pytest.mark.parametrize("name", [*PROFILED, EXTRA_STATE])
def test_what_every_module_may_have_counts_of_any_shape_and_depth(name: str) -> None:
    assert is_counter(name, stored((3,)))
    assert is_counter(f"layers.0.{name}", stored(()))
    assert not is_counter(f"layers.0.{name}.weight", stored(()))


@pytest.mark.parametrize("name", COUNTERS)
def test_a_counter_of_averages_is_one_number_at_the_top(name: str) -> None:
    assert is_counter(name, stored(()))
    assert is_counter(name, stored((1,)))
    assert not is_counter(name, stored((2,)))
    assert not is_counter(f"layers.0.{name}", stored(()))
