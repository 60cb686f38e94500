"""ExecuTorch programs for XNNPACK: what Android, iOS and embedded Linux run in an application of their own.

`torch.export` is the only way in, so the PyTorch model is lowered and no ONNX graph. XNNPACK takes the convolutions,
products and sums; what it has no operator for, LayerNorm above all, runs in ExecuTorch's own kernels between its parts.

    artifact.py   lower: the program and its settings
    rewrite.py    the model's operators in those that XNNPACK has, and in half what half kernels get wrong
    quantize.py   int8 and int8-dynamic, by torchao
    session.py    Session
    vendor.py     the libraries' own advice, kept off the terminal
    program.py    reading a saved program: what is inside and outside of XNNPACK's parts
    dtypes.py     dtype_stats
    constants.py  stored
    shown.py      which values between parts are whose outputs
    inside.py     profile, values, intermediates
    lint.py       what fails or runs badly on ExecuTorch alone, and in a saved program

XNNPACK shows no value inside its parts; what goes from one to the next is what a diagnosis sees.
"""

from slide_export.inference.served import ServedModel

from .artifact import OPTIONS, lower
from .constants import stored
from .dtypes import dtype_stats
from .inside import intermediates, profile, values
from .lint import FACTS as LINT
from .lint import is_artifact, lint_artifact
from .plain import plain_load
from .session import Session
from .settings import refuse_settings

__all__ = [
    "ACCEPTS",
    "DEFAULT_FORM",
    "DEVICE",
    "DISTRIBUTIONS",
    "LINT",
    "OPTIONS",
    "PRECISIONS",
    "RUNTIME",
    "Session",
    "dtype_stats",
    "intermediates",
    "is_artifact",
    "lint_artifact",
    "lower",
    "plain_load",
    "profile",
    "refuse_settings",
    "stored",
    "values",
]

ACCEPTS = ServedModel
PRECISIONS = {"fp32": False, "fp16": False, "int8": False, "int8-dynamic": False}  # there is no ONNX graph
DEFAULT_FORM = "pointwise_taps"  # of the time of shifts 0.93 with AVX2, and fewer operators outside of XNNPACK
DISTRIBUTIONS = ("executorch", "torchao")
RUNTIME = ("torch", "executorch.runtime")
DEVICE = ("numpy", "torch", "executorch")
