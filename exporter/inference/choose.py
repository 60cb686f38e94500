"""FusedModel -> InferenceModel: each fused slide attention in the form that the target runs best."""

from torch import nn

from slide_export.core.errors import RequestError
from slide_export.core.model import FusedModel, InferenceModel
from slide_export.models.slide_attention import FusedSlideAttention, SlideAttention

from .forms import FORMS
from .fuse import replace_layers

AUTO = {
    "coreml": "grouped",  # 323 operations against 715 of taps, and the evaluator has no speed of a device to go by
    "onnx": "wide_shifts",  # of the time of taps 0.87 with AVX2, where shifts has 0.74, and 0.91 with AVX-512: 1.21
    "openvino": "token_taps",  # 0.69 with AVX2, 0.39 with AVX-512
    "tensorrt": "grouped",  # not timed; builds in half the time of taps
}
"""The form for each target, by the time of a block at 56x56; tests/benchmarks/RESULTS.md has every form's, and `--tune`
measures on the machine at hand. The CPU is not asked: the same options give the same bundle on every machine."""


def names() -> tuple[str, ...]:
    """Returns what can be asked for."""
    return ("auto", *FORMS)


def choose(fused: FusedModel, target: str, form: str = "auto") -> InferenceModel:
    """Returns the model with every slide attention in a form; window attention is in its only form already.

    Args:
        target: decides what "auto" means.
        form: a name of `names()`, or one for each stage that slides, with commas between them.

    Raises:
        RequestError: there is no such form, or not one for each stage.
    """
    stages = stages_of(fused)
    asked = _forms(form, len(stages))
    forms = [AUTO[target] if name == "auto" else name for name in asked]
    by_stage = dict(zip(stages, forms * len(stages) if len(forms) == 1 else forms, strict=False))
    module = replace_layers(
        fused.module, lambda x: FORMS[by_stage[_width(x)]](x) if isinstance(x, FusedSlideAttention) else None
    )
    return InferenceModel(module, fused, forms[0] if len(set(forms)) == 1 else ",".join(forms))


def refuse_unfit(module: nn.Module, form: str) -> None:
    """Refuse forms that a trained model cannot have, before it is fused.

    Raises:
        RequestError: there is no such form, or not one for each stage that slides.
    """
    widths = {layer.qkv.in_features for layer in module.modules() if isinstance(layer, SlideAttention)}
    _forms(form, len(widths))


def _forms(form: str, stages: int) -> list[str]:
    asked = form.split(",")
    if unknown := [name for name in asked if name not in names()]:
        raise RequestError(f"expected a form of {', '.join(names())}; found {unknown[0]!r}")
    if len(asked) not in (1, stages):
        raise RequestError(f"expected one form, or one for each of {stages} stages that slide; found {form!r}")
    return asked


def stages_of(fused: FusedModel) -> dict[int, str]:
    """Returns the stages with slide attention, in order: channels, and the name of the first such layer."""
    stages: dict[int, str] = {}
    for name, layer in fused.module.named_modules():
        if isinstance(layer, FusedSlideAttention):
            stages.setdefault(_width(layer), name)
    return stages


def _width(layer: FusedSlideAttention) -> int:
    return layer.qkv.in_features
