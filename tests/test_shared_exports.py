"""An export is shared by models that are the same in every value, and by no others."""

import copy

import pytest
import torch

from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.forms.grouped import GroupedSlideAttention
from slide_export.inference.fuse import fuse
from slide_export.inference.served import ServedModel, in_form

from . import shared_exports


def key(served: ServedModel, *options: object) -> str:
    found = shared_exports.key(served.wrapper(), served.example(), *options)
    assert found is not None
    return found


@pytest.fixture
def served(model: Model) -> ServedModel:
    return in_form(choose(fuse(model), "grouped"), ModelIO())


def test_the_same_model_made_again_is_the_same(served: ServedModel, model: Model) -> None:
    assert key(in_form(choose(fuse(model), "grouped"), ModelIO())) == key(served)


def test_another_form_interface_or_option_is_another(served: ServedModel, model: Model) -> None:
    others = [(form, io) for form, io in (("taps", ModelIO()), ("grouped", ModelIO(softmax=True)))]
    keys = {key(in_form(choose(fuse(model), form), io)) for form, io in others}
    assert len({key(served), key(served, "dynamic"), *keys}) == 4


def test_one_value_one_number_and_one_function_tell(served: ServedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = served.wrapper()
    before = shared_exports.key(wrapper, served.example())
    weight, number = copy.deepcopy(wrapper), copy.deepcopy(wrapper)
    next(weight.parameters()).data.view(-1)[0] += 1e-6
    next(layer for layer in number.modules() if isinstance(layer, torch.nn.LayerNorm)).eps = 1e-4
    keys = {before, *(shared_exports.key(one, served.example()) for one in (weight, number))}
    monkeypatch.setattr(GroupedSlideAttention, "forward", lambda self, x: x)
    keys.add(shared_exports.key(wrapper, served.example()))
    assert len(keys) == 4


def test_a_shared_graph_is_the_one_that_is_exported_and_is_not_eaten(
    served: ServedModel, shared_exports: shared_exports.Shared
) -> None:
    first = onnx_graph.export(served).proto
    first.graph.node[0].op_type = "Eaten"
    again = onnx_graph.export(served).proto
    with shared_exports.turned_off():
        own = onnx_graph.export(served).proto
    assert again.graph.node[0].op_type != "Eaten"
    assert again.SerializeToString(deterministic=True) == own.SerializeToString(deterministic=True)
