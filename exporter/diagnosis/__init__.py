"""Where an artifact leaves the trained model, module by module in PyTorch's names, for every target."""

from .diagnose import diagnose
from .report import Diagnosis, Row

__all__ = ["Diagnosis", "Row", "diagnose"]
