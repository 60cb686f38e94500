"""CoreML ML Programs: predicted by CoreML on macOS, elsewhere evaluated from the saved package.

Inputs and outputs are float32 in both precisions. From iOS 16 on CoreML has float16 arrays too, which spare a cast on
each side, but few callers have float16 at hand. The Neural Engine computes in float16 only; it may run every one of an
enumerated set of shapes, but not always with LayerNorm (apple/coremltools issue 1909): a fixed batch is safer there.

    artifact.py   lower: the package and its runtime settings
    package.py    reading a package, and the batches that it permits
    dtypes.py     dtype_stats
    constants.py  stored
    plain.py      plain_load
    session.py    Session, substitute_runtime
    inside.py     profile, values, intermediates
    lint.py       what fails or runs badly on CoreML alone; ane/: Neural Engine readiness of a saved package

No device runs a package by itself: deploy_examples/06_coreml_swift measures on one.
"""

from slide_export.inference.served import ServedModel

from .artifact import OPTIONS, lower
from .constants import stored
from .dtypes import dtype_stats
from .inside import intermediates, profile, values
from .lint import FACTS as LINT
from .lint import is_artifact, lint_artifact
from .plain import plain_load
from .session import Session, substitute_runtime
from .settings import refuse_settings

__all__ = [
    "ACCEPTS",
    "DEFAULT_FORM",
    "DISTRIBUTIONS",
    "LINT",
    "OPTIONS",
    "PRECISIONS",
    "RUNTIME",
    "SLOW_IMPORTS",
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
    "substitute_runtime",
    "values",
]

ACCEPTS = ServedModel
PRECISIONS = {"fp32": False, "fp16": False, "w8": False}  # coremltools converts the PyTorch model, there is no graph
DEFAULT_FORM = "grouped"  # 323 operations against 715 of taps, and the evaluator has no speed of a device to go by
DISTRIBUTIONS = ("coremltools",)
RUNTIME = ("torch", "coremltools", "slide_export.mil")
SLOW_IMPORTS = RUNTIME  # 1.8 s of processor, with SciPy and pandas
