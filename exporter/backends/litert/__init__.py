"""LiteRT (TensorFlow Lite) for phones and boards: a `.tflite` file, run here by LiteRT's own interpreter.

The converter's packages clash with ours, so it lives in an environment of its own: `slide-export targets install
litert`. The interpreter is in ours, so a bundle is proved, measured and run without the converter.

    artifact.py      lower: model -> .pt2 -> converter -> names of ours -> checks
    convert.py       the script that runs in the environment; imports nothing of ours
    quantize.py      a recipe, operator by operator, for the quantizer
    flatbuffer.py    reading and writing `.tflite`
    dtypes.py        dtype_stats
    constants.py     stored
    session.py       Session, values, intermediates
    plain.py         plain_load
    lint.py          what fails or runs badly on LiteRT alone, and rules of a saved file
"""

from pathlib import Path

from slide_export.backends.interface import IsolatedEnvironment
from slide_export.core.artifact import LARGEST_BATCH
from slide_export.inference.served import ServedModel

from .artifact import OPTIONS, lower
from .constants import stored
from .dtypes import dtype_stats
from .lint import FACTS as LINT
from .lint import is_artifact, lint_artifact
from .plain import plain_load
from .session import Session, intermediates, values
from .settings import refuse_settings

__all__ = [
    "ACCEPTS",
    "DEFAULT_FORM",
    "DEVICE",
    "DISTRIBUTIONS",
    "ENVIRONMENT",
    "FIXED_BATCHES",
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
    "refuse_settings",
    "stored",
    "values",
]

ACCEPTS = ServedModel
PRECISIONS = {
    "fp32": False,
    "w16": False,
    "int8": False,
    "int8-dynamic": False,
    "w8": False,
}  # the converter's own form
DEFAULT_FORM = "token_taps"  # of the time of taps 0.83 for a block at 56x56 and 0.98 for the whole Slide-Swin-T
FIXED_BATCHES = range(1, LARGEST_BATCH + 1)
"""The converter bakes sizes into reshapes and refuses dynamic ones (litert-torch 0.10.0: a TypeError in its bridge)."""
DISTRIBUTIONS = ("ai-edge-litert",)
RUNTIME = ("ai_edge_litert.interpreter",)
DEVICE = ("numpy", "ai_edge_litert")
ENVIRONMENT = IsolatedEnvironment(
    lock=Path(__file__).with_name("lock.txt"),
    borrowed=("torch",),
    download_mib=380,
    installed_mib=1000,
    why="its packages clash with ours (the converter pins older ones)",
)
