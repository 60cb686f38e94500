"""ncnn: the network in a text, its weights beside it, run by ncnn's own Python package.

The PyTorch model is traced for one image and converted by pnnx, of the same date as ncnn: layers change their names
from release to release. What pnnx writes is repaired, its layers are called after the model's modules, and every type
of layer is looked up in the runtime before anything is called done.

    convert.py   trace, and pnnx's program
    probe.py     a network that may crash ncnn, run apart first
    network.py   the text: layers, read and written
    weights.py   the weights that each layer reads
    repair.py    constant shapes, no batch axis at rank 5
    modules.py   PyTorch module of each layer
    artifact.py  lower: the two files and the runtime settings
    runtime.py   ncnn's own objects
    session.py   Session
    dtypes.py    dtype_stats
    constants.py stored
    inside.py    profile, values, intermediates
    plain.py     plain_load
    lint.py      what fails or runs badly on ncnn alone

`ncnn.model_zoo`, which downloads models, is never imported.
"""

from slide_export.inference.served import ServedModel

from .artifact import OPTIONS, companions, lower
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
    "ONE_BY_ONE",
    "OPTIONS",
    "PRECISIONS",
    "RUNTIME",
    "WINOGRAD",
    "Session",
    "companions",
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
PRECISIONS = {"fp32": False, "w16": False}  # pnnx converts the PyTorch model, there is no graph
DEFAULT_FORM = "shifts"
DISTRIBUTIONS = ("ncnn", "pnnx")
RUNTIME = ("ncnn",)
WINOGRAD = True
DEVICE = ("numpy", "ncnn")
ONE_BY_ONE = True
