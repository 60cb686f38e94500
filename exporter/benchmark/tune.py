"""Measure every form of a model's attention on this machine, stage by stage, and remember which was fastest.

A stage is stood for by half a block of its own: x + attention(LayerNorm(x)) at the stage's size, batch 1, in each form,
under the target's own runtime. All forms of a stage are measured in one sitting, in interleaved rounds (`latency`). A
precision that the graph carries is not written into these: they are measured in float32.
"""

import hashlib
import json
import logging
import tempfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.backends.interface import LoweringOptions
from slide_export.core import cache, files
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError, SlideExportError, WriteError, option
from slide_export.core.graph import OnnxGraph
from slide_export.core.measurement import ArtifactInfo, StageTimes
from slide_export.core.model import FusedModel
from slide_export.core.progress import Progress, no_progress
from slide_export.graph import export as onnx_graph
from slide_export.inference.choose import forms_of_layer, stages_of
from slide_export.inference.forms import NATIVE, Form
from slide_export.models.deformable_attention import FusedDeformableAttention
from slide_export.models.slide_attention import FusedSlideAttention

from . import environment
from . import rounds as latency
from .plan import BenchPlan

ROUNDS, CALLS = 12, 5
INPUT, OUTPUT = "map", "attended"

log = logging.getLogger(__name__)


class HalfBlock(nn.Module):
    """x + attention(LayerNorm(x)): what surrounds an attention in every model, so that its layout changes count."""

    def __init__(self, attention: nn.Module, channels: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(channels), attention

    def forward(self, x: Tensor) -> Tensor:
        """Half a block: x [B, H, W, C] -> [B, H, W, C]."""
        return x + self.attn(self.norm1(x))


def tune(
    fused: FusedModel, target: str, order: LoweringOptions, step: Progress = no_progress
) -> tuple[StageTimes, ...]:
    """Times of every form for each stage whose attention has several, measured now or remembered.

    Raises:
        RequestError: the target's runtime does not run here, so that there is nothing to measure.
    """
    backend = backends.load(target)
    why_not = optional.unavailable_reason(backend) or optional.substitute_runtime(backend)
    if why_not or backend.ACCEPTS is not OnnxGraph:
        raise RequestError(
            f"expected a target that runs here to tune for, found {target}: {why_not or 'it takes no ONNX graph'}; "
            f"leave {option('tune')} out, or run it on the device"
        )
    sizes = _sizes(fused)
    return tuple(_stage(fused, target, order, name, sizes[name], step) for name in stages_of(fused).values())


def _sizes(fused: FusedModel) -> dict[str, tuple[int, int, int]]:
    """Rows, columns and channels of what reaches each attention that has several forms."""
    sizes: dict[str, tuple[int, int, int]] = {}

    def record(name: str) -> Callable[..., None]:
        """Hook that records the map size in front of the layer `name`."""

        def hook(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            """Read rows, columns and channels off the input [B, H, W, C]."""
            _, rows, cols, channels = inputs[0].shape
            sizes[name] = (rows, cols, channels)

        return hook

    layers = [(name, layer) for name, layer in fused.module.named_modules() if forms_of_layer(layer) is not None]
    hooks = [layer.register_forward_pre_hook(record(name)) for name, layer in layers]
    try:
        with torch.inference_mode():
            fused.module(torch.zeros(1, 3, *fused.trained.image_size))
    finally:
        for hook in hooks:
            hook.remove()
    return sizes


def _stage(
    fused: FusedModel, target: str, order: LoweringOptions, name: str, size: tuple[int, int, int], step: Progress
) -> StageTimes:
    layer = fused.module.get_submodule(name)
    heads, kernel_size, *_ = _numbers(layer)
    forms = _forms(layer)
    machine, key = _fingerprint(target, order, layer, size)
    remembered = _recall(key, forms)
    if remembered is None:
        remembered = _measure(layer, forms, target, order, size, step)
        _remember(key, remembered)
    return StageTimes(name, size, heads, kernel_size, remembered, machine)


def _numbers(layer: nn.Module) -> tuple[int, ...]:
    """Heads, side of the kernel, and what else a layer's time depends on beside its map.

    Raises:
        TypeError: it is no fused attention that has several forms.
    """
    if isinstance(layer, FusedSlideAttention):
        return layer.heads, layer.kernel_size, layer.value_conv is not None
    if isinstance(layer, FusedDeformableAttention):
        shape = layer.shape
        return shape.heads, shape.kernel, shape.groups, *shape.grid, *shape.biases
    raise TypeError(f"expected a fused attention that has several forms, found {type(layer).__name__}")


def _measure(
    layer: nn.Module,
    forms: Mapping[str, Form],
    target: str,
    order: LoweringOptions,
    size: tuple[int, int, int],
    step: Progress,
) -> dict[str, float]:
    rows, cols, channels = size
    example = torch.randn(2, rows, cols, channels, generator=torch.Generator().manual_seed(0))
    backend, plan = backends.load(target), BenchPlan(rounds=ROUNDS, calls=CALLS)
    with tempfile.TemporaryDirectory() as temporary:
        candidates = []
        for form, lower in forms.items():
            with step(f"prepare {form} at {rows}x{cols}x{channels}"):
                graph = onnx_graph.export_module(
                    HalfBlock(lower(layer), channels).eval(), (example,), (INPUT,), (OUTPUT,)
                )
                place = Path(temporary) / form
                place.mkdir()
                artifact = backend.lower(graph, place, LoweringOptions(order.precision, ModelIO(), order.options))
            subject = ArtifactInfo(form, target, order.precision.name, "attention", form, (rows, cols))
            feeds = {INPUT: np.asarray(example[:1])}
            candidates.append(latency.Candidate(subject, artifact.path, artifact.settings, feeds))
        result = latency.measure(candidates, plan, step=step)
    return {run.subject.name: run.p50_ms.value for run in result.runs}


def _forms(layer: nn.Module) -> dict[str, Form]:
    """The forms that are measured: native is asked for by name alone."""
    return {name: form for name, form in (forms_of_layer(layer) or {}).items() if name != NATIVE}


def _fingerprint(target: str, order: LoweringOptions, layer: nn.Module, size: tuple[int, int, int]) -> tuple[str, str]:
    """The machine in words, and what the times depend on as a key."""
    threads = len(environment.usable())
    here = environment.fingerprint("this machine", threads, [target])
    versions = {name: here.versions[name] for name in backends.availability(target).versions}
    facts: dict[str, Any] = {
        "cpu": here.cpu,
        "flags": here.flags,
        "threads": threads,
        "target": target,
        "versions": versions,
        "order": {**order.options, "precision": order.precision.name},
        "shape": (*size, *_numbers(layer)),
        "forms": tuple(_forms(layer)),
    }
    machine = f"{here.cpu}, {threads} threads, " + ", ".join(f"{name} {found}" for name, found in versions.items())
    return machine, hashlib.sha256(json.dumps(facts, sort_keys=True, allow_nan=False).encode()).hexdigest()


def remembered() -> Path:
    """The file of what was measured here before.

    Raises:
        WriteError: there is no place for it.
    """
    return cache.place("lowerings.json")


def _read() -> dict[str, dict[str, float]]:
    try:
        content = json.loads(remembered().read_text())
    except (OSError, ValueError, WriteError):
        return {}  # none yet, or not ours any more: what it held is measured again
    return content if isinstance(content, dict) else {}


def _recall(key: str, forms: Collection[str]) -> dict[str, float] | None:
    times = _read().get(key)
    return times if isinstance(times, dict) and set(times) == set(forms) else None


def _remember(key: str, times: Mapping[str, float]) -> None:
    """Add to the file, written whole: two runs at once lose at most one's times; a place that fails costs no result."""
    try:
        files.write(remembered(), json.dumps({**_read(), key: dict(times)}, indent=2, allow_nan=False))
    except SlideExportError as error:
        log.warning("the times are not remembered: %s", error)
