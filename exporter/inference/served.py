"""A model as it is served: the one place that knows about preprocessing, inputs and outputs."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from slide_export.core.artifact import Array, Feeds, ModelIO, Outputs
from slide_export.core.model import InferenceModel, Model
from slide_export.core.task import Task
from slide_export.tasks import CLASSIFY, task_of

from .preprocess import normalise

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from slide_export.core.proof import Rule
    from slide_export.models import DataConfig

    from .export_wrapper import ExportWrapper

TRACE_BATCH = 2  # tracing with 1 bakes the batch in (pytorch#133653)


@dataclass(frozen=True)
class ServedModel:
    """A module with everything that decides what is fed to it and what comes out.

    Attributes:
        module: what runs: the trained module, or the same mathematics fused or in a form.
        trained: the model that it came from.
        form: of slide attention; "" for the trained and the fused module.
    """

    module: nn.Module = field(repr=False)
    trained: Model
    io: ModelIO
    task: Task = CLASSIFY
    form: str = ""

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, an image each."""
        return self.task.inputs

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return self.task.outputs(self.io)

    @property
    def coupled(self) -> int:
        """How many images in a row of a batch change each other's outputs; see `models.coupled`."""
        from slide_export.models import coupled

        return coupled(self.module)

    @property
    def rule(self) -> Rule | None:
        """What an output is proved by that follows from the others; None where none does."""
        return self.task.rule(self.io, self.trained.config, self.trained.image_size)

    def running(self, inference: InferenceModel) -> ServedModel:
        """The same service of the model in a form."""
        return replace(self, module=inference.module, form=inference.form)

    def wrapper(self) -> ExportWrapper:
        """The module to trace or run, in eval mode; it shares the weights."""
        from .export_wrapper import ExportWrapper

        return ExportWrapper(self.module, self.trained.data, self.io, self.task).eval()

    def in_float64(self) -> ExportWrapper:
        """A copy in float64."""
        return copy.deepcopy(self.wrapper()).double()

    def feeds(self, pictures: Sequence[NDArray[np.uint8]]) -> Feeds:
        """What an artifact is fed for pictures uint8 [B, H, W, 3], one array an input."""
        return feeds_of(self.task, self.io, self.trained.data, pictures)

    def normalised(self, feeds: Feeds) -> tuple[Tensor, ...]:
        """Feeds as the bare module takes them: float32 [B, 3, H, W] an input."""
        import torch

        values = (feeds[name] for name in self.input_names)
        if self.io.embed_preprocessing:
            return tuple(torch.from_numpy(normalise(value, self.trained.data)) for value in values)
        return tuple(map(torch.from_numpy, values))

    def tensors(self, feeds: Feeds, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """Feeds as a wrapper of this type takes them; uint8 pictures stay uint8."""
        import torch

        fed = (torch.from_numpy(feeds[name]) for name in self.input_names)
        return tuple(value if self.io.embed_preprocessing else value.to(dtype) for value in fed)

    def outputs(self, feeds: Feeds, dtype: torch.dtype, module: nn.Module | None = None) -> Outputs:
        """Outputs by name, in `smallest_batches`, so that one image's activations are in memory at a time.

        Args:
            module: what to run in the wrapper's place, which gives the same outputs: one that rounds, say.
        """
        import torch

        run = module if module is not None else self.wrapper()
        with torch.inference_mode():
            rows = [run(*images) for images in self.smallest_batches(feeds, dtype)]
        return self.named(torch.cat(column) for column in zip(*rows, strict=True))

    def margins(self, exact: Outputs) -> Outputs:
        """Margins of outputs that are decisions already, image by image; see `Task.margins`."""
        import torch

        if not self.task.classes(self.io):
            return {}
        found: dict[str, list[Array]] = {name: [] for name in self.task.classes(self.io)}
        with torch.inference_mode():
            for index in range(len(next(iter(exact.values())))):
                row = {name: torch.from_numpy(value[index : index + 1]) for name, value in exact.items()}
                for name, margin in self.task.margins(self.module, row, self.trained.image_size, self.io).items():
                    found[name].append(margin.float().numpy())
        return {name: np.concatenate(rows) for name, rows in found.items()}

    def named(self, outputs: Iterable[Tensor]) -> Outputs:
        """Outputs of a wrapper by name, as arrays."""
        return dict(zip(self.output_names, (output.numpy() for output in outputs), strict=True))

    def smallest_batches(self, feeds: Feeds, dtype: torch.dtype) -> Iterator[tuple[Tensor, ...]]:
        """The inputs image by image or, of a model that couples images, in the smallest batches that it takes."""
        yield from zip(*(value.split(self.coupled) for value in self.tensors(feeds, dtype)), strict=True)

    def example(self) -> tuple[Tensor, ...]:
        """Zero inputs of the right shape and type, at the fixed batch size or a small one."""
        import torch

        rows, cols = self.trained.image_size
        batch = self.io.batch or TRACE_BATCH
        if self.io.embed_preprocessing:
            return tuple(torch.zeros(batch, rows, cols, 3, dtype=torch.uint8) for _ in self.input_names)
        return tuple(torch.zeros(batch, 3, rows, cols) for _ in self.input_names)


def serve(model: Model, io: ModelIO, tasks: Sequence[Task] | None = None) -> ServedModel:
    """A trained model as `io` asks for it, in its family's task.

    Raises:
        RequestError: the task does not go with `io`, or is unknown.
    """
    task = task_of(model.task, io) if tasks is None else task_of(model.task, io, tasks)
    io = task.chosen(io)
    task.check(io, model.config)
    return ServedModel(model.module, model, io, task)


def in_form(inference: InferenceModel, io: ModelIO) -> ServedModel:
    """A model in a form, served as `io` asks; see `serve`."""
    return serve(inference.fused.trained, io).running(inference)


def feeds_of(task: Task, io: ModelIO, data: DataConfig, pictures: Sequence[NDArray[np.uint8]]) -> Feeds:
    """What an artifact is fed for pictures uint8 [B, H, W, 3], one array an input, where no model is at hand."""
    fed = pictures if io.embed_preprocessing else [normalise(part, data) for part in pictures]
    return dict(zip(task.inputs, fed, strict=True))


def first(feeds: Feeds, count: int) -> Feeds:
    """The first images of feeds."""
    return {name: value[:count] for name, value in feeds.items()}


def repeated(value: Array, batch: int) -> Array:
    """A batch filled up with its own images, for an artifact that takes no other size."""
    return value[np.arange(batch) % len(value)]
