"""Core AI assets: what iOS and macOS 27 load. A beta of Apple's: packages 1.0.0b3 and 0.4.3 are pinned.

`torch.export` is the only way in, so the PyTorch model is lowered and no ONNX graph. Core AI's package for Linux has an
interpreter of its assets, so the saved file itself is proved here, in float32; what the Neural Engine and the GPU of a
device make of it is not.

    artifact.py   lower: the asset and its settings
    convert.py    the script that converts, in a process of its own: the converter ends it at some models
    vendor.py     everything that is imported of Core AI's packages for reading a program
    bytecode.py   the program's file, read and written
    names.py      names that are drawn anew in each process, made to follow from the program
    asset.py      reading a saved asset: constants, products, operations
    session.py    Session
    wide.py       a float16 program in float32, which is all of it that can be proved here
    dtypes.py     dtype_stats
    constants.py  stored
    plain.py      plain_load
    lint.py       what runs badly in a saved asset

The interpreter's time says nothing of a device, so there is no profile, and the form was chosen by counting.
"""

from slide_export.inference.served import ServedModel

from .artifact import OPTIONS, lower
from .constants import stored
from .dtypes import dtype_stats
from .lint import is_artifact, lint_artifact
from .plain import plain_load
from .session import Session, substitute_runtime
from .settings import refuse_settings

__all__ = [
    "ACCEPTS",
    "DEFAULT_FORM",
    "DISTRIBUTIONS",
    "OPTIONS",
    "PRECISIONS",
    "RUNTIME",
    "Session",
    "dtype_stats",
    "is_artifact",
    "lint_artifact",
    "lower",
    "plain_load",
    "refuse_settings",
    "stored",
    "substitute_runtime",
]

ACCEPTS = ServedModel
PRECISIONS = {"fp32": False, "fp16": False}  # there is no ONNX graph; fp16 is not proved here, see session.py
DEFAULT_FORM = "grouped"  # 509 operations of a Slide-Swin-T, taps has 945 and shifts 957; fewest bytes too
DISTRIBUTIONS = ("coreai-core", "coreai-torch")
RUNTIME = ("coreai.authoring",)
