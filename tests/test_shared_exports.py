"""An export is shared by models that are the same in every value, and by no others."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from slide_export.core.artifact import ModelIO
from slide_export.core.model import Model
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import choose
from slide_export.inference.forms.grouped import GroupedSlideAttention
from slide_export.inference.fuse import fuse
from slide_export.inference.served import ServedModel, in_form
from slide_export.models import layers, window_attention

from . import shared_exports

ROOT = Path(__file__).parents[1]


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


CONFIGURES = """
import sys, torch
from tests import shared_exports
from tests.conftest import SMALL, randomise
from slide_export.checkpoint.load import load_checkpoint
from slide_export.core.artifact import ModelIO
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import in_form
from pathlib import Path
shared_exports.Shared(None, Path(sys.argv[2]))
served = in_form(choose(fuse(load_checkpoint(sys.argv[1])), "grouped"), ModelIO())
print(shared_exports.key(served.wrapper(), served.example(), "dynamic"))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
def test_another_process_has_the_same_key(seed: str, served: ServedModel, checkpoint: Path, tmp_path: Path) -> None:
    """Whatever the order of its sets, and whatever it imported first."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    line = [sys.executable, "-c", CONFIGURES, str(checkpoint), str(tmp_path)]
    told = subprocess.run(line, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert told.strip() == key(served, "dynamic")


def planted(x: torch.Tensor) -> torch.Tensor:
    """A function of a test in the place of the product's."""
    return x


def test_a_patched_constant_and_a_patched_function_of_any_file_tell(
    served: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {key(served)}
    monkeypatch.setattr(layers, "roll", planted)
    keys.add(key(served))
    for value in (1, 2):  # two closures of one place
        monkeypatch.setattr(layers, "roll", lambda x, value=value: value)
        keys.add(key(served))
    monkeypatch.undo()
    monkeypatch.setattr(window_attention, "MASKED", -10.0)
    keys.add(key(served))
    monkeypatch.setattr(layers.roll, "__code__", planted.__code__.replace(co_name="roll"))
    keys.add(key(served))
    assert len(keys) == 6
    monkeypatch.undo()
    assert key(served) in keys
