"""Neural Engine readiness of a saved `.mlpackage`, in three tiers: errors, warnings, performance hints.

Where an operation runs is CoreML's decision on the device; no rule claims it ("There is no static documentation, as it
changes based on device generation, operating system version, tensor sizes", coremltools#1780). Left out on purpose,
because measurements contradict them: dilated convolutions, broadcasting, "gather never", concat, gelu and matmul as
unsupported (hollance/neural-engine, of the NeuralNetwork era; notes on private interfaces), and attention operators.
"""

from __future__ import annotations

from pathlib import Path

from slide_export.core.lint import Finding, Rule, Severity, judge
from slide_export.mil import Package

from . import checks, hints
from .program import Program

APPLE = "apple/coreai-models neural_engine_rules.md 86b363d"
TRANSFORMERS = "machinelearning.apple.com/research/neural-engine-transformers"
VISION = "machinelearning.apple.com/research/vision-transformers"
GUIDE = "sbryngelson/ane-guide appendix A b7565c5"
ONLY = ("coreml",)

# atan and tanh are native by the guide's own table; asinh, acosh are no MIL operations.
NO_PATH = (
    *("scatter", "scatter_along_axis", "scatter_nd", "one_hot", "non_zero", "band_part", "reduce_prod", "mod"),
    *("logical_and", "logical_or", "logical_xor", "shape", "acos", "asin", "atanh", "cosh", "sinh"),
)
RECURRENT = ("lstm", "gru", "rnn")
INDEXED = ("gather", "gather_along_axis", "topk")
RESIZES = ("resize", "resize_bilinear", "resize_nearest_neighbor", "upsample_bilinear", "upsample_nearest_neighbor")


def _rule(
    severity: Severity, name: str, find: checks.Check, fix: str, source: str, *, confirmed: bool = True
) -> Rule[Program]:
    return Rule("ane-" + name, severity, ONLY, find, fix, source, confirmed)


def _maybe(severity: Severity, name: str, find: checks.Check, fix: str, source: str) -> Rule[Program]:
    """A rule that no public document settles: only the device does."""
    return _rule(severity, name, find, fix, source, confirmed=False)


TIER_1 = (
    _rule(
        "error", "rank", checks.rank, "merge axes until every tensor has rank 5 or less", f"coremltools#1723; {APPLE}"
    ),
    _rule(
        "error",
        "precision",
        checks.precision,
        "convert with compute_precision FLOAT16; float32 leaves the engine",
        APPLE,
    ),
    _rule(
        "error",
        "interface",
        checks.interface,
        "declare float16 inputs and outputs (ct.TensorType(dtype=np.float16))",
        APPLE,
    ),
    _rule(
        "error",
        "range",
        checks.ranges,
        "fix the shape, or enumerate the shapes: of a range only the default shape may run on the engine",
        f"Apple engineer, developer.apple.com/forums 724930; {APPLE}",
    ),
    _maybe(
        "error",
        "enumerated-norm",
        checks.enumerated_norm,
        "one package a shape, or a fixed shape: LayerNorm keeps a model with enumerated shapes off the engine",
        "coremltools#1909",
    ),
    _maybe(
        "error", "extent", checks.extent, "split the axis: 16384 wide and high (65536 from A16), 65536 channels", GUIDE
    ),
    _maybe("error", "no-path", checks.operators(*NO_PATH), "precompute it, or write it with arithmetic", GUIDE),
    _rule(
        "error",
        "recurrent",
        checks.operators(*RECURRENT),
        "unroll it into products and activations",
        "coremltools#1780",
    ),
    _maybe("error", "kernel", checks.kernel_width, "split the kernel: 13 wide at most in float16 on an M1", GUIDE),
    _maybe("error", "groups", checks.groups, "choose groups that divide input and output channels", GUIDE),
    _rule(
        "error",
        "constant",
        checks.constants,
        "use -40000 where a mask says minus infinity",
        f"{APPLE}; IEEE 754 binary16",
    ),
    _rule("error", "epsilon", checks.epsilons, "use 1e-5 or more: float16 rounds it to zero", "IEEE 754 binary16"),
)
TIER_2 = (
    _maybe(
        "warning",
        "gather",
        checks.operators(*INDEXED),
        "precompute position biases; write torch.roll as slices and a concatenation",
        f"roboflow/rf-detr#1495; coremltools#1103; {VISION}; {GUIDE}",
    ),
    _maybe(
        "warning",
        "multiplier",
        checks.multiplier,
        "measure on the device against the form taps",
        "no source covers it: sbryngelson/ane-guide measured groups == channels alone",
    ),
    _maybe("warning", "pad", checks.mirrored_pad, "pad with zeros, or ask for an M2 or later", GUIDE),
    _maybe(
        "warning", "resize", checks.operators(*RESIZES), "upsample with a convolution, or ask for an M2 or later", GUIDE
    ),
    _maybe(
        "warning",
        "conv1d",
        checks.long_conv1d,
        "reshape to 2-d, or lower the stride: compiling can hang",
        "coremltools#2660",
    ),
    _maybe(
        "warning",
        "arg-reduce",
        checks.long_arg,
        "reduce in two steps of at most 2048 values",
        "sbryngelson/ane-guide b7565c5",
    ),
    _maybe(
        "warning",
        "slice-offset",
        checks.offset_slice,
        "keep |x| below 4094 there, or cut another axis: M1 and M2 saturate",
        GUIDE,
    ),
)
TIER_3 = (
    _maybe(
        "hint",
        "narrow-axis",
        hints.narrow_axis,
        "put an axis of 32 or more last: rows are padded to 64 bytes",
        f"{APPLE}; {TRANSFORMERS}",
    ),
    _maybe(
        "hint",
        "alignment",
        hints.unaligned_interface,
        "make the last axis a multiple of 32",
        f"{APPLE}; {TRANSFORMERS}",
    ),
    _maybe(
        "hint", "linear", checks.operators("linear"), "a 1x1 convolution on (B, C, 1, S)", f"{TRANSFORMERS}; {APPLE}"
    ),
    _maybe(
        "hint",
        "softmax",
        hints.softmax_axis,
        "softmax along the channel axis, one head at a time",
        f"{TRANSFORMERS}; {VISION}",
    ),
    _maybe(
        "hint", "stream", hints.streamed, "fewer channels or rows at a time: above 2 MiB it streams from memory", GUIDE
    ),
    _maybe("hint", "stride", hints.strides, "strides and dilations made of factors 2 and 3", APPLE),
    _maybe("hint", "pool-stride", hints.pool_strides, "pool with stride 2 or 4", APPLE),
    _maybe(
        "hint", "palette-stride", hints.palettized_strides, "keep these weights unpalettized, or the stride at 2", APPLE
    ),
    _maybe("hint", "batch", hints.batches, "one item at a time", APPLE),
)

RULES: tuple[Rule[Program], ...] = (*TIER_1, *TIER_2, *TIER_3)


def lint_package(path: Path | Package) -> tuple[Finding, ...]:
    """Findings of the rules in a saved package.

    Raises:
        MilError: it cannot be read.
    """
    package = path if isinstance(path, Package) else Package.read(path)
    return judge(RULES, Program(package), ONLY)
