"""The facts that hold for every target, and the table of rules that they and the backends' own facts make.

A fact is what a rule says of a target: its severity, what to do, who says so. It is found by a check, which a PyTorch
module has (`module_rules`), an ONNX graph (`onnx_rules`), or both. What concerns one target alone stands in its
backend's folder as LINT; there it takes the place of a fact of the same rule and check here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.core.lint import LintFact

from .rules import Device, Rule

T = TypeVar("T")
Find: TypeAlias = Callable[[T], Iterable[Device]]
Check: TypeAlias = Callable[[LintFact], Find[T]]
"""Makes of a fact what finds its places; most facts are found alike, one with a limit is found by that."""

SIMPLIFY = "fold it: onnxsim.simplify(model), or export with sizes that are Python ints"
CONVOLVE = "shift with depthwise convolutions, as slide attention does"
MASK = "multiply by a mask instead of selecting: the size of a result must not depend on the content"

EVERY_TARGET: tuple[LintFact, ...] = (
    LintFact(
        "im2col",
        "error",
        CONVOLVE,
        "torch/onnx symbolic_opset11.py im2col, symbolic_opset18.py col2im; pytorch#29706; "
        "slide_export.graph.passes.check refuses it",
    ),
    LintFact(
        "unfold-slices",
        "warning",
        CONVOLVE,
        "torch/onnx symbolic_opset9.py unfold; every neighbourhood is copied",
    ),
    LintFact(
        "gather",
        "warning",
        "precompute what is constant; replace the rest by slices, reshapes or convolutions",
        "coremltools#1103; roboflow/rf-detr#1495",
    ),
    LintFact(
        "scatter",
        "warning",
        "precompute what is constant; replace the rest by slices, reshapes or convolutions",
        "sbryngelson/ane-guide appendix A b7565c5; slide_export.graph.passes.check refuses it",
    ),
    LintFact(
        "roll",
        "hint",
        "two copies of the map an axis; none is needed where the window covers the map",
        "torch/onnx symbolic_opset9.py roll",
    ),
    LintFact(
        "roll",
        "warning",
        "write it as two slices and one concatenation an axis (slide_export.models.layers.roll)",
        "machinelearning.apple.com/research/vision-transformers: no native shifting on the Neural Engine",
        check="roll-gathers",
    ),
    LintFact(
        "select",
        "hint",
        "slice (x[:, :1]) instead of indexing (x[:, 0]): a Slice fuses where a Gather does not",
        "slide_export.models.layers.PatchMerging; slide_export.graph.passes.check refuses every Gather",
    ),
    LintFact(
        "gather-constant",
        "hint",
        "store the result as a buffer instead of indexing a weight in every forward pass",
        "coremltools 9.0 frontend/torch/ops.py; slide_export.models.window_attention.FusedWindowAttention",
    ),
    LintFact("gather-constant", "hint", SIMPLIFY, "torch/onnx symbolic_opset9.py index", check="gather-constant-node"),
    LintFact(
        "batch-fixed",
        "warning",
        "export with a dynamic first dimension (dynamic_axes), unless one batch size is all you serve",
        "pytorch#133653",
    ),
    LintFact(
        "batch-baked",
        "warning",
        "reshape with -1 for the batch, use sizes as they are (int(x.shape[0] / n) is a constant once traced) and "
        "trace at batch 2 or more: other batch sizes fail or mix images",
        "Swin-Transformer#257; pytorch#133653",
    ),
    LintFact(
        "untraceable",
        "error",
        "take tensors, return tensors, and keep the control flow free of their values",
        "slide_export.graph.export.export and coremltools both trace",
    ),
    LintFact("dtype-complex", "error", "compute with real numbers only", "no target has kernels for it"),
    LintFact("dtype-none", "error", "compute with real numbers only", "no target has kernels for it"),
    LintFact(
        "dtype-double",
        "warning",
        "convert the model to float32 (module.float()); look for a numpy constant",
        "onnxruntime 1.32 CPU has no double Conv; onnx-tensorrt docs/operators.md and coremltools make float32 of it",
    ),
    LintFact(
        "data-dependent",
        "warning",
        MASK,
        "ONNX Operators.md NonZero; sbryngelson/ane-guide appendix A b7565c5: data-dependent shape",
    ),
    LintFact(
        "control-flow",
        "warning",
        "decide in Python while tracing, or unroll",
        "onnx-tensorrt docs/operators.md (10.15), Loop and If; sbryngelson/ane-guide appendix A b7565c5, while_loop",
    ),
    LintFact("dynamic-shape", "hint", SIMPLIFY, "onnxsim; pytorch#133653"),
    LintFact(
        "opset",
        "error",
        "export with opset 17",
        "newer than the installed onnx package defines",
        check="opset-unreleased",
    ),
    LintFact(
        "opset",
        "hint",
        "export with opset 17, which every target reads in full",
        "onnxruntime's CUDA provider lacks Resize-19 and ReduceMax-20; ultralytics engine/exporter.py",
        check="opset-in-full",
    ),
    LintFact("custom-operator", "error", "export with standard operators only", "ONNX IR.md, operator sets"),
    LintFact("own-operator", "error", "take another form than native: this target loads no library", "ONNX IR.md"),
    LintFact(
        "train-time-form",
        "hint",
        "fuse it (slide_export.inference.fuse, or timm's reparameterize_model): one convolution instead of several",
        "timm utils/model.py reparameterize_model; Slide-Transformer (CVPR 2023) section 4.2",
    ),
)


def rules_of(checks: Mapping[str, Check[T]], targets: Sequence[str] = ()) -> tuple[Rule[T], ...]:
    """The rules of these targets, or of all, in the order of the checks.

    A fact of several targets is one rule; a fact that no check here finds is none.
    """
    concerned: dict[LintFact, list[str]] = {}
    for target in targets or backends.names():
        for fact in facts_of(target):
            if fact.found_by in checks:
                concerned.setdefault(fact, []).append(target)
    order = list(checks)
    return tuple(
        Rule(
            fact.rule,
            fact.severity,
            tuple(concerned[fact]),
            checks[fact.found_by](fact),
            fact.fix,
            fact.source,
            fact.confirmed,
        )
        for fact in sorted(concerned, key=lambda fact: order.index(fact.found_by))
    )


def facts_of(target: str) -> tuple[LintFact, ...]:
    """What holds for a target: its backend's own facts, and those of every target that it says nothing else of."""
    own = optional.lint_facts(backends.load(target))
    replaced = {(fact.rule, fact.found_by) for fact in own}
    return (*own, *(fact for fact in EVERY_TARGET if (fact.rule, fact.found_by) not in replaced))


def always(find: Find[T]) -> Check[T]:
    """The check of a fact that is found in one way, whatever it says."""
    return lambda _: find


def limited(by_limit: Callable[[int], Find[T]]) -> Check[T]:
    """The check of a fact that counts: what is above its limit."""

    def check(fact: LintFact) -> Find[T]:
        """Check by the fact's own limit.

        Raises:
            TypeError: the fact has none.
        """
        if fact.limit is None:
            raise TypeError(f"expected a limit in the fact of {fact.rule}, found none")
        return by_limit(fact.limit)

    return check
