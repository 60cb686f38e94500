"""slide-export: a trained Slide-Transformer checkpoint becomes an artifact that is proved equal to it."""

from .api import (
    bench,
    compare,
    demo,
    diagnose,
    export,
    export_all,
    inspect,
    lint,
    load_checkpoint,
    measure_accuracy,
    recommend,
    report,
    run,
    targets,
    variants,
    verify,
    verify_all,
)
from .benchmark.plan import BenchPlan, DeviceRequest
from .core.errors import SlideExportError
from .core.telemetry import turn_off
from .inference.fuse import fuse

turn_off()  # none of these imports a vendor's package: that is left to functions

__all__ = [
    "BenchPlan",
    "DeviceRequest",
    "SlideExportError",
    "bench",
    "compare",
    "demo",
    "diagnose",
    "export",
    "export_all",
    "fuse",
    "inspect",
    "lint",
    "load_checkpoint",
    "measure_accuracy",
    "recommend",
    "report",
    "run",
    "targets",
    "variants",
    "verify",
    "verify_all",
]
