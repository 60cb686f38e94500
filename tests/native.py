"""What a machine needs for tests that build the operator of form native; each is named where it is missing."""

import os
import shutil
from pathlib import Path

import pytest

from slide_export.native.library import COMPILER, COMPILERS

VARIABLE = "ONNXRUNTIME_HEADERS"
HEADERS = Path(os.environ.get(VARIABLE, "/usr/include/onnxruntime"))
"""Where Debian's libonnxruntime-dev puts them, or where the variable says."""
_asked = os.environ.get(COMPILER)
needs_a_compiler = pytest.mark.skipif(
    not any(map(shutil.which, [_asked] if _asked else COMPILERS)), reason="needs a C++ compiler, this machine has none"
)
needs_headers = pytest.mark.skipif(
    not (HEADERS / "onnxruntime_c_api.h").is_file(),
    reason=f"needs ONNX Runtime's onnxruntime_c_api.h, found none in {HEADERS}: {VARIABLE} names its folder",
)
