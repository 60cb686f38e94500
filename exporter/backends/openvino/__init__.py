"""OpenVINO IR, run by OpenVINO Runtime.

`model.xml` holds the layers, `model.bin` the weights. The precision of an IR is what it stores; what a device computes
in is the runtime's decision (bfloat16 on Xeons with AMX, float16 on GPUs: openvino PR#20713), so every artifact ships
with an inference precision, and is proved with it. Embedded preprocessing is the ONNX graph's own, four layers that
OpenVINO reads as what `PrePostProcessor` would write: the same for every target, and proved with the rest.

    artifact.py   lower: the IR and its runtime settings
    runtime.py    reading, compiling, and OpenVINO's messages
    dtypes.py     dtype_stats
    layers.py     profile: what the device executed, and of which layer
    plain.py      plain_load: what a load without settings computes
    session.py    Session, values, intermediates
    bfloat16.py   weights in bfloat16, and whether a processor computes in it
    wide_kernels.py convolutions that are wrong in 8 bits
    constants.py  stored: what the IR's constants stand for
    own_operator.py the operator of form native, as an extension
"""

from slide_export.core.graph import OnnxGraph

from .artifact import OPTIONS, companions, lower
from .bfloat16 import precision_obstacle
from .constants import stored
from .dtypes import dtype_stats
from .layers import profile
from .lint import FACTS as LINT
from .own_operator import PRECISIONS as NATIVE_PRECISIONS
from .own_operator import native_runtime
from .plain import plain_load
from .runtime import unavailable_reason
from .session import Session, intermediates, values
from .settings import harmless_settings, refuse_settings

__all__ = [
    "ACCEPTS",
    "DEFAULT_FORM",
    "DEVICE",
    "DISTRIBUTIONS",
    "LINT",
    "NATIVE_PRECISIONS",
    "OPTIONS",
    "PRECISIONS",
    "RUNTIME",
    "SUPPRESSES",
    "Session",
    "companions",
    "dtype_stats",
    "harmless_settings",
    "intermediates",
    "lower",
    "native_runtime",
    "plain_load",
    "precision_obstacle",
    "profile",
    "refuse_settings",
    "stored",
    "unavailable_reason",
    "values",
]

ACCEPTS = OnnxGraph
PRECISIONS = {"fp32": False, "fp16": False, "bf16": False, "int8": True, "w8": True}  # the IR itself is halved
DEFAULT_FORM = "summed_taps"  # of the time of token_taps 0.93 with AVX2 and AVX-512, 0.79 in bfloat16; taps 1.5
SUPPRESSES = True
DISTRIBUTIONS = ("openvino",)
RUNTIME = ("openvino",)
DEVICE = ("numpy", "openvino")
