"""What fails or runs badly in a PyTorch module before any conversion. The table is the order of the findings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .module_trace import Call, Find, Observation, observe
from .rules import TARGETS, Device, Finding, Rule, judge

COREML_RANK, TENSORRT_RANK = 5, 8  # coremltools#1723; nvinfer1::Dims::MAX_DIMS
VIEWS = frozenset({f"aten.{name}" for name in ("view", "_unsafe_view", "permute", "transpose", "clone", "alias")})
INDEXING = frozenset({f"aten.{name}" for name in ("index", "gather", "index_select", "take", "embedding")})
SCATTERING = frozenset({f"aten.{name}" for name in ("scatter", "scatter_add", "index_put", "index_put_", "index_add")})
UNFOLDING = frozenset({f"aten.{name}" for name in ("im2col", "col2im", "unfold", "unfold_backward")})
DEPENDENT = frozenset({f"aten.{name}" for name in ("nonzero", "masked_select", "_unique2", "unique_dim")})
FUSERS = ("fuse", "reparameterize", "switch_to_deploy")  # timm/utils/model.py reparameterize_model


def calls(*names: str, live: bool = True) -> Find:
    """Returns a rule: operators of these names, on activations or (live=False) on constants alone."""

    def find(seen: Observation) -> Iterator[Device]:
        return ((call.module, _text(call)) for call in seen.calls if call.name in names and call.live is live)

    return find


def computed_rank(limit: int) -> Find:
    """Returns a rule: operators other than views on activations above a rank."""

    def find(seen: Observation) -> Iterator[Device]:
        for call in seen.calls:
            if _rank(call) > limit and call.name not in VIEWS:
                yield call.module, f"{call.name} at rank {_rank(call)}"

    return find


def viewed_rank(seen: Observation) -> Iterator[Device]:
    """Yields views of a rank above CoreML's in modules that do nothing else at that rank."""
    computing = {module for module, _ in computed_rank(COREML_RANK)(seen)}
    for call in seen.calls:
        turned = call.name in ("aten.permute", "aten.transpose") and call.module not in computing
        if turned and _rank(call) > COREML_RANK:
            yield call.module, f"{call.name} at rank {_rank(call)} between two views"


def multiplier(seen: Observation) -> Iterator[Device]:
    """Yields depthwise convolutions with more than one output channel a group."""
    for call in seen.calls:
        if call.name != "aten.convolution":
            continue
        outputs, per_group, groups = *call.inputs[1].shape[:2], call.arguments[-1]
        if groups > 1 and per_group == 1 and outputs > groups:
            yield call.module, f"depthwise convolution of {groups} channels with multiplier {outputs // groups}"


def element(*kinds: torch.dtype) -> Find:
    """Returns a rule: weights and activations of these element types."""

    def find(seen: Observation) -> Iterator[Device]:
        for name, weight in (*seen.module.named_parameters(), *seen.module.named_buffers()):
            if weight.dtype in kinds and weight.is_floating_point() | weight.is_complex():
                yield name.rpartition(".")[0], f"{name} is {_name(weight.dtype)}"
        for call in seen.calls:
            for spec in call.outputs:
                if spec.live and spec.dtype in kinds:
                    yield call.module, f"{call.name} gives {_name(spec.dtype)}"

    return find


def unfused(seen: Observation) -> Iterator[Device]:
    """Yields modules that have an inference form and are not in it."""
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


CONVOLVE = "shift with depthwise convolutions, as slide attention does"
TAPS = "measure --lowering taps against grouped: k*k convolutions of multiplier 1"
PRECOMPUTE = "precompute what is constant; replace the rest by slices, reshapes or convolutions"

RULES: tuple[Rule[Observation], ...] = (
    Rule(
        "rank",
        "error",
        ("coreml",),
        computed_rank(COREML_RANK),
        "merge axes (rows and columns into one) until every tensor has rank 5 or less",
        "coremltools#1723",
    ),
    Rule(
        "rank",
        "error",
        ("tensorrt",),
        computed_rank(TENSORRT_RANK),
        "merge axes until every tensor has rank 8 or less",
        "TensorRT NvInferRuntimeBase.h Dims::MAX_DIMS",
    ),
    Rule(
        "rank-view",
        "hint",
        ("coreml",),
        viewed_rank,
        "coremltools expands view-permute-view by itself; two rank-4 steps need no such luck",
        "coremltools pass expand_high_rank_reshape_and_transpose",
    ),
    Rule(
        "im2col",
        "error",
        TARGETS,
        calls(*UNFOLDING),
        CONVOLVE,
        "graph.export.refuse_unfold; pytorch#29706",
    ),
    Rule("gather", "warning", TARGETS, calls(*INDEXING), PRECOMPUTE, "coremltools#1103; roboflow/rf-detr#1495"),
    Rule(
        "scatter",
        "warning",
        TARGETS,
        calls(*SCATTERING),
        PRECOMPUTE,
        "sbryngelson/ane-guide appendix A b7565c5; slide_export.graph.passes.check refuses it",
    ),
    Rule(
        "gather-constant",
        "hint",
        TARGETS,
        calls(*INDEXING, live=False),
        "store the result as a buffer instead of indexing a weight in every forward pass",
        "coremltools 9.0 frontend/torch/ops.py; slide_export.models.window_attention.FusedWindowAttention",
    ),
    Rule(
        "roll",
        "warning",
        ("coreml",),
        calls("aten.roll"),
        "two slices and one concatenation an axis (slide_export.models.layers.roll): CoreML makes gathers of a roll",
        "coremltools 9.0 frontend/torch/ops.py roll; machinelearning.apple.com/research/vision-transformers",
    ),
    Rule(
        "roll",
        "hint",
        ("onnx", "openvino", "tensorrt"),
        calls("aten.roll"),
        "two copies of the map an axis; none is needed where the window covers the map",
        "torch/onnx symbolic_opset9.py roll",
    ),
    Rule(
        "multiplier",
        "warning",
        ("onnx",),
        multiplier,
        TAPS,
        "onnxruntime#5605, onnxruntime#28565: depthwise kernels need one filter a group; "
        "on phones litert-torch#1211: 459 ms against 0.68 ms on QNN HTP",
    ),
    Rule(
        "multiplier",
        "warning",
        ("coreml",),
        multiplier,
        TAPS,
        "no source covers it: sbryngelson/ane-guide measured groups == channels alone",
        confirmed=False,
    ),
    Rule(
        "multiplier",
        "hint",
        ("tensorrt",),
        multiplier,
        "leave it out of INT8: a group must have a multiple of 4 channels on both sides; or " + TAPS,
        "TensorRT NvInfer.h IConvolutionLayer; TensorRT#4529",
    ),
    Rule(
        "batch-baked",
        "warning",
        TARGETS,
        lambda seen: seen.baked,
        "reshape with -1 for the batch and use sizes as they are: int(x.shape[0] / n) is a constant once traced",
        "Swin-Transformer#257; pytorch#133653",
    ),
    Rule(
        "untraceable",
        "error",
        TARGETS,
        lambda seen: [] if seen.untraceable is None else [("", seen.untraceable)],
        "take tensors, return tensors, and keep the control flow free of their values",
        "slide_export.graph.export.export and coremltools both trace",
    ),
    Rule(
        "dtype-complex",
        "error",
        TARGETS,
        element(torch.complex32, torch.complex64, torch.complex128),
        "compute with real numbers only",
        "no target has kernels for it",
    ),
    Rule(
        "dtype-bfloat16",
        "error",
        ("coreml", "onnx"),
        element(torch.bfloat16),
        "convert the model to float32 (module.float()) before exporting",
        "coremltools 9.0 frontend/torch/utils.py has no bfloat16; onnxruntime 1.32 CPU: NOT_IMPLEMENTED Relu(14)",
    ),
    Rule(
        "dtype-double",
        "warning",
        TARGETS,
        element(torch.float64),
        "convert the model to float32 (module.float()); look for a numpy constant",
        "onnxruntime 1.32 CPU has no double Conv; onnx-tensorrt docs/operators.md and coremltools make float32 of it",
    ),
    Rule(
        "dtype-int64",
        "warning",
        ("coreml",),
        element(torch.int64),
        "use int32, or keep indices out of the model",
        "CoreML has no 64-bit integers: coremltools makes int32 of them",
    ),
    Rule(
        "data-dependent",
        "warning",
        TARGETS,
        calls(*DEPENDENT),
        "multiply by a mask instead of selecting: the size of a result must not depend on the content",
        "ONNX Operators.md NonZero; sbryngelson/ane-guide appendix A b7565c5: data-dependent shape",
    ),
    Rule(
        "train-time-form",
        "hint",
        TARGETS,
        unfused,
        "fuse it (slide_export.inference.fuse, or timm's reparameterize_model): one convolution instead of several",
        "timm utils/model.py reparameterize_model; Slide-Transformer (CVPR 2023) section 4.2",
    ),
)


def lint_module(module: nn.Module, example: Tensor, targets: Sequence[str] = TARGETS) -> tuple[Finding, ...]:
    """Returns what the rules find in a module.

    Args:
        example: an input; the module is run on its first item, repeated to batches of 2 and 3.
    """
    return judge(RULES, observe(module, example), targets)
