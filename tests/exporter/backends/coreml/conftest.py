"""What programs are saved with as packages, shared with the linter's tests and the evaluator's."""

from tests.exporter.linter.conftest import save
from tests.exporter.mil.conftest import _coremltools

__all__ = ["_coremltools", "save"]
