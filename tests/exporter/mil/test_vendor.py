"""coremltools comes without the libraries that it would import beside itself, whatever is there of them."""

import subprocess
import sys

import pytest

pytest.importorskip("coremltools", reason="coremltools is not installed")

CODE = """
import sys, types
started = sys.modules["executorch"] = types.ModuleType("executorch")  # its package alone, as find_spec leaves it
from slide_export.mil import vendor
vendor.prepare()
import coremltools._deps as found
print(found._HAS_EXECUTORCH, sys.modules["executorch"] is started, "torchao" in sys.modules)
"""


def test_a_library_that_is_there_in_part_is_hidden_and_is_back_afterwards() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", CODE], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["False", "True", "False"], done.stderr
