"""FusedModel -> LoweredModel: each fused slide attention in the form that the target runs best."""

from slide_export.errors import RequestError
from slide_export.fuse import replace_layers
from slide_export.models.slide_attention import FusedSlideAttention
from slide_export.types import FusedModel, LoweredModel

from . import FORMS

AUTO = {
    "coreml": "grouped",  # 323 operations against 715, and the evaluator has no speed of a device to go by
    "onnx": "taps",  # 120, 119 and 130 ms in three runs, against 123, 134 and 130 with grouped
    "openvino": "taps",  # 132, 139 and 123 ms, against 151, 155 and 142 with grouped
    "tensorrt": "grouped",  # not timed; builds in half the time
}
"""The form for each target; milliseconds of Slide-Swin-T in tests/benchmarks/RESULTS.md."""


def names() -> tuple[str, ...]:
    """Returns what can be asked for."""
    return ("auto", *FORMS)


def choose(fused: FusedModel, target: str, lowering: str = "auto") -> LoweredModel:
    """Returns the model with every slide attention in one form; window attention is in its only form already.

    Args:
        target: decides what "auto" means.
        lowering: a name of `names()`.

    Raises:
        RequestError: there is no such form.
    """
    if lowering not in names():
        raise RequestError(f"expected a lowering of {', '.join(names())}; found {lowering!r}")
    form = AUTO[target] if lowering == "auto" else lowering
    lower = FORMS[form]
    module = replace_layers(fused.module, lambda x: lower(x) if isinstance(x, FusedSlideAttention) else None)
    return LoweredModel(module, fused, form)
