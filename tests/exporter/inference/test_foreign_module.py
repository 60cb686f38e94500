"""What foreign converters are given: contiguous, named, without gradients, and the same function to the last bit."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import LoweringError, RequestError
from slide_export.core.graph import TensorSpec
from slide_export.core.model import Model
from slide_export.core.task import Task
from slide_export.inference.foreign_module import (
    examples,
    export_program,
    foreign_module,
    names_of,
    save_program,
    specs,
)
from slide_export.inference.served import ServedModel, serve
from slide_export.tasks import TASKS


class Strided(nn.Module):
    """A bias that is a transposed view, an odd stride of an axis of length 1, a tied weight, and a plain tensor.

    All are whole numbers: sums are exact in any order, so strides may not change a bit.
    """

    bias: Tensor
    single: Tensor

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)

        def whole(*shape: int) -> Tensor:
            """Whole numbers within 3 of zero."""
            return torch.randint(-3, 4, shape, generator=generator).float()

        self.register_buffer("bias", whole(5, 7).T)
        self.register_buffer("single", whole(2, 9)[:1, ::3])
        self.first = nn.Linear(7, 7)
        self.second = nn.Linear(7, 7)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(whole(*parameter.shape))
        self.second.weight = self.first.weight
        self.table = whole(3, 7).T

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, 7, 5] -> [B, 3]."""
        x = self.second(self.first((x + self.bias).transpose(2, 3))) * self.table.sum(dim=1)
        return x.sum(dim=(2, 3)) + self.single


@pytest.fixture
def strided(model: Model) -> ServedModel:
    small = replace(model, module=Strided().eval(), config=replace(model.config, image_size=(7, 5)))  # type: ignore[type-var]
    return serve(small, ModelIO(batch=3))


def test_every_tensor_is_contiguous_and_wants_no_gradient_and_the_source_is_as_it_was(strided: ServedModel) -> None:
    module = foreign_module(strided)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    inner = module.wrapper.module
    assert isinstance(inner, Strided)
    for tensor in (*tensors.values(), inner.table):
        assert tensor.stride() == torch.empty(tensor.shape).stride()
        assert not tensor.requires_grad
    assert inner.second.weight is inner.first.weight
    source = strided.module
    assert isinstance(source, Strided)
    assert not source.bias.is_contiguous()
    assert source.first.weight.requires_grad
    assert source.single.stride() != (3, 1)


def test_module_program_and_saved_program_are_the_same_function(strided: ServedModel, tmp_path: Path) -> None:
    module = foreign_module(strided)
    images = torch.randint(-9, 10, (3, 3, 7, 5), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        (expected,) = strided.wrapper()(images)
        program = export_program(strided, module)
        save_program(program, module, tmp_path / "model.pt2")
        read = torch.export.load(tmp_path / "model.pt2")
        for run in (module, program.module(), read.module()):
            assert torch.equal(run(images)[0], expected)
        changed = images.clone()
        changed[0, 0, 0, 0] += 1
        assert not torch.equal(module(changed)[0], expected)
    assert names_of(tmp_path / "model.pt2") == (("images",), ("logits",))
    assert [node.name for node in program.graph.nodes if node.op == "placeholder"][-1] == "images"


def test_a_bare_output_is_a_tensor(strided: ServedModel) -> None:
    images = torch.ones(3, 3, 7, 5)
    with torch.no_grad():
        assert torch.equal(foreign_module(strided, bare=True)(images), foreign_module(strided)(images)[0])


def test_several_outputs_are_no_tensor(model: Model) -> None:
    with pytest.raises(LoweringError, match="expected one output"):
        foreign_module(serve(model, ModelIO(features=True)), bare=True)


def test_a_real_model_is_the_same_at_its_batch_and_at_any_up_to_a_bound(model: Model) -> None:
    served = serve(model, ModelIO())
    module = foreign_module(served)
    images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    dynamic = export_program(served, module, largest=4).module()
    fixed = export_program(replace(served, io=ModelIO(batch=3)), module).module()
    with torch.no_grad():
        (expected,) = served.wrapper()(images)
        assert torch.equal(dynamic(images)[0], expected)
        assert torch.equal(fixed(images)[0], expected)
        assert len(dynamic(images[:1])[0]) == 1


def test_inputs_of_a_task_with_two_are_called_as_it_calls_them(strided: ServedModel) -> None:
    def run(module: nn.Module, images: tuple[Tensor, ...], _io: ModelIO) -> tuple[Tensor, ...]:
        """The difference of two views."""
        return (module(images[0]) - module(images[1]),)

    task = replace(_classify(), inputs=("left", "right"), run=run)
    served = replace(strided, task=task)
    module = foreign_module(served)
    program = export_program(served, module)
    assert [node.name for node in program.graph.nodes if node.op == "placeholder"][-2:] == ["left", "right"]
    left, right = torch.zeros(3, 3, 7, 5), torch.ones(3, 3, 7, 5)
    with torch.no_grad():
        found = program.module()(left, right)[0]
        assert torch.equal(found, served.wrapper()(left, right)[0])
        assert not torch.equal(found, program.module()(right, left)[0])


def _classify() -> Task:
    return next(task for task in TASKS if task.name == "classify")


def test_an_unfold_is_refused(model: Model) -> None:
    class Unfolding(nn.Module):
        """A model that gathers patches."""

        def forward(self, x: Tensor) -> Tensor:
            """[B, 3, 64, 64] -> [B, 27]."""
            return nn.functional.unfold(x, 3).mean(dim=2)

    served = serve(replace(model, module=Unfolding().eval()), ModelIO(batch=1))
    with pytest.raises(LoweringError, match="expected no Im2Col in the model, found im2col"):
        export_program(served, foreign_module(served))


def test_what_cannot_be_traced_is_refused_in_a_sentence(model: Model) -> None:
    class Deciding(nn.Module):
        """A model whose way depends on its input."""

        def forward(self, x: Tensor) -> Tensor:
            """[B, 3, 64, 64] -> [B]."""
            return x.sum(dim=(1, 2, 3)) if x.sum().item() > 0 else x.amax(dim=(1, 2, 3))

    served = serve(replace(model, module=Deciding().eval()), ModelIO(batch=1))
    with pytest.raises(LoweringError, match=r"expected a model that torch\.export can express"):
        export_program(served, foreign_module(served))


@pytest.mark.parametrize(("batch", "largest"), [(3, 4), (None, 1)])
def test_a_bound_goes_with_a_dynamic_batch_and_more_than_one_image(
    batch: int | None, largest: int, model: Model
) -> None:
    served = serve(model, ModelIO(batch=batch))
    with pytest.raises(RequestError, match="expected a dynamic batch and a bound"):
        export_program(served, foreign_module(served), largest=largest)


@pytest.mark.parametrize("embed", [False, True])
def test_examples_have_the_batch_that_is_asked(embed: bool, model: Model) -> None:
    (image,) = examples(serve(model, ModelIO(embed_preprocessing=embed)), 5)
    assert tuple(image.shape) == ((5, 64, 64, 3) if embed else (5, 3, 64, 64))
    assert image.dtype == (torch.uint8 if embed else torch.float32)


@pytest.mark.parametrize(("batch", "size"), [(None, "batch"), (4, 4)])
def test_ends_are_those_of_the_artifact_whatever_batch_it_was_run_with(
    batch: int | None, size: str | int, strided: ServedModel
) -> None:
    inputs, outputs = specs(strided, {"logits": np.zeros((2, 3), np.float32)}, batch)
    assert inputs == (TensorSpec(strided.input_names[0], "float32", (size, 3, 7, 5)),)
    assert outputs == (TensorSpec("logits", "float32", (size, 3)),)
