"""How the linter's facts are found in a PyTorch module, before any conversion."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from .facts import Check, always, limited, rules_of
from .module_trace import Call, Find, Observation, observe
from .rules import Device, Finding, Rule, judge, known_targets

VIEWS = frozenset({f"aten.{name}" for name in ("view", "_unsafe_view", "permute", "transpose", "clone", "alias")})
INDEXING = frozenset({f"aten.{name}" for name in ("index", "gather", "index_select", "take", "embedding")})
SCATTERING = frozenset({f"aten.{name}" for name in ("scatter", "scatter_add", "index_put", "index_put_", "index_add")})
UNFOLDING = frozenset({f"aten.{name}" for name in ("im2col", "col2im", "unfold", "unfold_backward")})
DEPENDENT = frozenset({f"aten.{name}" for name in ("nonzero", "masked_select", "_unique2", "unique_dim")})
FUSERS = ("fuse", "reparameterize", "switch_to_deploy")  # timm/utils/model.py reparameterize_model


def calls(*names: str, live: bool = True) -> Find:
    """Find operators of these names, on activations or (live=False) on constants alone."""

    def find(seen: Observation) -> Iterator[Device]:
        """Calls of these operators."""
        return ((call.module, _text(call)) for call in seen.calls if call.name in names and call.live is live)

    return find


def computed_rank(limit: int) -> Find:
    """Find operators other than views on activations above a rank."""

    def find(seen: Observation) -> Iterator[Device]:
        """Calls at a rank above `limit` that do not only move data."""
        for call in seen.calls:
            if _rank(call) > limit and call.name not in VIEWS:
                yield call.module, f"{call.name} at rank {_rank(call)}"

    return find


def viewed_rank(limit: int) -> Find:
    """Find views above a rank in modules that do nothing else at that rank."""

    def find(seen: Observation) -> Iterator[Device]:
        """Transposes at a rank above `limit` in modules that compute nothing there."""
        computing = {module for module, _ in computed_rank(limit)(seen)}
        for call in seen.calls:
            turned = call.name in ("aten.permute", "aten.transpose") and call.module not in computing
            if turned and _rank(call) > limit:
                yield call.module, f"{call.name} at rank {_rank(call)} between two views"

    return find


def multiplier(seen: Observation) -> Iterator[Device]:
    """Find depthwise convolutions with more than one output channel a group."""
    for call in seen.calls:
        if call.name != "aten.convolution":
            continue
        outputs, per_group, groups = *call.inputs[1].shape[:2], call.arguments[-1]
        if groups > 1 and per_group == 1 and outputs > groups:
            yield call.module, f"depthwise convolution of {groups} channels with multiplier {outputs // groups}"


def element(*kinds: torch.dtype) -> Find:
    """Find weights and activations of these element types."""

    def find(seen: Observation) -> Iterator[Device]:
        """Parameters and buffers, then results that depend on the input, of these dtypes."""
        for name, weight in (*seen.module.named_parameters(), *seen.module.named_buffers()):
            if weight.dtype in kinds and weight.is_floating_point() | weight.is_complex():
                yield name.rpartition(".")[0], f"{name} is {_name(weight.dtype)}"
        for call in seen.calls:
            for spec in call.outputs:
                if spec.live and spec.dtype in kinds:
                    yield call.module, f"{call.name} gives {_name(spec.dtype)}"

    return find


def unfused(seen: Observation) -> Iterator[Device]:
    """Find modules that have an inference form and are not in it."""
    for name, module in seen.module.named_modules():
        done = getattr(module, "inference_mode", False) is True or getattr(module, "deploy", False) is True
        if not done and any(callable(getattr(module, fuser, None)) for fuser in FUSERS):
            yield name, f"{type(module).__name__} in its train-time form"


def _rank(call: Call) -> int:
    return max((len(spec.shape) for spec in (*call.inputs, *call.outputs) if spec.live), default=0)


def _text(call: Call) -> str:
    shape = next((spec.shape for spec in call.inputs if spec.live), call.inputs[0].shape if call.inputs else ())
    return f"{call.name} of {list(shape)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


BFLOAT16, DOUBLE, INT64 = torch.bfloat16, torch.float64, torch.int64
COMPLEX = (torch.complex32, torch.complex64, torch.complex128)

CHECKS: Mapping[str, Check[Observation]] = {
    "rank": limited(computed_rank),
    "rank-view": limited(viewed_rank),
    "im2col": always(calls(*UNFOLDING)),
    "gather": always(calls(*INDEXING)),
    "scatter": always(calls(*SCATTERING)),
    "gather-constant": always(calls(*INDEXING, live=False)),
    "roll": always(calls("aten.roll")),
    "multiplier": always(multiplier),
    "batch-baked": always(lambda seen: seen.baked),
    "untraceable": always(lambda seen: [] if seen.untraceable is None else [("", seen.untraceable)]),
    "dtype-complex": always(element(*COMPLEX)),
    "dtype-bfloat16": always(element(BFLOAT16)),
    "dtype-double": always(element(DOUBLE)),
    "dtype-int64": always(element(INT64)),
    "data-dependent": always(calls(*DEPENDENT)),
    "train-time-form": always(unfused),
}
"""How each fact is found in a module; the order is that of the findings."""


def rules(targets: Sequence[str] = ()) -> tuple[Rule[Observation], ...]:
    """The rules of these targets, or of all."""
    return rules_of(CHECKS, targets)


def lint_module(module: nn.Module, example: Tensor, targets: Sequence[str] = ()) -> tuple[Finding, ...]:
    """Findings in a module, for these targets or all.

    Args:
        example: an input; the module is run on its first item, repeated to batches of 2 and 3.
    """
    return judge(rules(targets), observe(module, example), known_targets(targets))
