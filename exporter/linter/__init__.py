"""What would fail or run badly on which target, before any conversion; and Neural Engine readiness after one.

`lint(subject, targets)` takes a checkpoint, an `.onnx` file, an `.mlpackage`, a bundle or any PyTorch module.
"""

from .dispatch import lint
from .rules import TARGETS, Finding

__all__ = ["TARGETS", "Finding", "lint"]
