"""What programs are saved with as packages, shared with the linter's tests and the evaluator's."""

from typing import Any

import numpy as np
import pytest

from slide_export.mil import Package
from tests.exporter.linter.conftest import save
from tests.exporter.mil.conftest import _coremltools

__all__ = ["_coremltools", "doubled", "save"]


@pytest.fixture
def doubled(save: Any) -> Package:
    """y = relu(2 x) of x [2, 3]."""
    from coremltools.converters.mil.mil import Builder

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(2, 3))])
    def program(x: Any) -> Any:
        twice = Builder.mul(x=x, y=np.float32(2), name="twice")
        return Builder.relu(x=twice, name="y")

    found: Package = save(program, "fp32")
    return found
