"""FusedModel -> InferenceModel: each fused slide attention in the form that the target runs best.

Which form is best for a target stands in its backend as DEFAULT_FORM, by the time of a block at 56x56;
tests/benchmarks/RESULTS.md has every form's, and `--tune` measures on the machine at hand.
"""

from torch import nn

from slide_export.core.errors import RequestError
from slide_export.core.model import FusedModel, InferenceModel
from slide_export.models.slide_attention import FusedSlideAttention, SlideAttention

from .forms import FORMS
from .fuse import replace_layers

AUTO = "auto"


def names() -> tuple[str, ...]:
    """Names that can be asked for."""
    return (AUTO, *FORMS)


def choose(fused: FusedModel, form: str, *, auto: str = "taps") -> InferenceModel:
    """Put every slide attention of a model in a form; window attention is in its only form already.

    Args:
        form: a name of `names()`, or one for each stage that slides, with commas between them.
        auto: the form that "auto" stands for, by the target's backend (`backends.registry.default_form`). The machine
            is not asked: the same options give the same bundle everywhere.

    Raises:
        RequestError: there is no such form, or not one for each stage.
    """
    stages = stages_of(fused)
    asked = _forms(form, len(stages))
    forms = [auto if name == AUTO else name for name in asked]
    # A stage is known by its channels, which no two of a family share.
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
    """Stages with slide attention, in order: channels -> name of the first such layer."""
    stages: dict[int, str] = {}
    for name, layer in fused.module.named_modules():
        if isinstance(layer, FusedSlideAttention):
            stages.setdefault(_width(layer), name)
    return stages


def _width(layer: FusedSlideAttention) -> int:
    return layer.qkv.in_features
