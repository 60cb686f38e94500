"""An evaluator of saved CoreML ML Programs for machines without CoreML.

`Package.read(path)` reads an `.mlpackage` back from disk; `Evaluator(package, mode).run(feeds)` computes its outputs
with PyTorch on the CPU. It says what the saved graph means, not what a device makes of it.
"""

from .errors import MilError
from .evaluator import Evaluator, NonFinite
from .package import Package
from .program import Feature, MilType, Operation, Output

__all__ = ["Evaluator", "Feature", "MilError", "MilType", "NonFinite", "Operation", "Output", "Package"]
