"""The verbs of the command line as functions of the same names. Importing them imports no torch."""

from .checkpoints import inspect, lint, load_checkpoint, variants
from .exporting import demo, export, export_all
from .installed import environments, install_target, targets, uninstall_target
from .measuring import bench, compare, recommend, report
from .proving import diagnose, measure_accuracy, run, verify, verify_all

__all__ = [
    "bench",
    "compare",
    "demo",
    "diagnose",
    "environments",
    "export",
    "export_all",
    "inspect",
    "install_target",
    "lint",
    "load_checkpoint",
    "measure_accuracy",
    "recommend",
    "report",
    "run",
    "targets",
    "uninstall_target",
    "variants",
    "verify",
    "verify_all",
]
