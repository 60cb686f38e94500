"""FusedModel -> InferenceModel: each fused attention that has several forms in the one that the target runs best.

Slide attention has the forms of `FORMS`, deformable attention those of `SAMPLINGS`; no model has both attentions. Which
form is best for a target stands in its backend as DEFAULT_FORM, by the time of a block at 56x56, and DEFAULT_SAMPLING;
tests/benchmarks/RESULTS.md has every form's, and `--tune` measures on the machine at hand.
"""

from collections.abc import Mapping

from torch import nn

from slide_export.core.errors import RequestError
from slide_export.core.model import FusedModel, InferenceModel
from slide_export.models.deformable_attention import DeformableAttention, FusedDeformableAttention
from slide_export.models.slide_attention import FusedSlideAttention, SlideAttention

from .forms import FORMS, SAMPLINGS, Form
from .fuse import replace_layers

AUTO = "auto"


def names() -> tuple[str, ...]:
    """Names that can be asked for."""
    return (AUTO, *FORMS, *SAMPLINGS)


def choose(fused: FusedModel, form: str, *, auto: str = "taps", sampling: str = "hats") -> InferenceModel:
    """Put every slide or deformable attention of a model in a form; other attention is in its only form already.

    Args:
        form: a name of `names()`, or one for each stage with such an attention, with commas between them.
        auto: the form of slide attention that "auto" stands for, by the target's backend
            (`backends.registry.default_form`). The machine is not asked: the same options give the same bundle
            everywhere.
        sampling: the same for deformable attention (`backends.registry.default_sampling`).

    Raises:
        RequestError: there is no such form of the model's attention, or not one for each stage.
    """
    stages, forms = stages_of(fused), forms_of(fused.module)
    asked = _forms(form, len(stages), forms)
    default = sampling if forms is SAMPLINGS else auto
    chosen = [default if name == AUTO else name for name in asked]
    # A stage is known by its channels, which no two of a family share.
    by_stage = dict(zip(stages, chosen * len(stages) if len(chosen) == 1 else chosen, strict=False))
    module = replace_layers(
        fused.module, lambda x: forms[by_stage[width(x)]](x) if forms_of_layer(x) is not None else None
    )
    return InferenceModel(module, fused, chosen[0] if len(set(chosen)) == 1 else ",".join(chosen))


def refuse_unfit(module: nn.Module, form: str) -> None:
    """Refuse forms that a trained model cannot have, before it is fused.

    Raises:
        RequestError: there is no such form of the model's attention, or not one for each stage with it.
    """
    widths = {width(layer) for layer in module.modules() if forms_of_layer(layer) is not None}
    _forms(form, len(widths), forms_of(module))


def _forms(form: str, stages: int, known: Mapping[str, Form]) -> list[str]:
    asked = form.split(",")
    if unknown := [name for name in asked if name != AUTO and name not in known]:
        what = "a form of" if unknown[0] not in names() else "a form of this model's attention,"
        raise RequestError(f"expected {what} {', '.join((AUTO, *known))}; found {unknown[0]!r}")
    if len(asked) not in (1, stages):
        raise RequestError(
            f"expected one form, or one for each of {stages} stages whose attention has forms; found {form!r}"
        )
    return asked


def forms_of(module: nn.Module) -> Mapping[str, Form]:
    """The forms that a model's attention has, by name; those of slide attention where it has one form alone."""
    found = (forms_of_layer(layer) for layer in module.modules())
    return next((forms for forms in found if forms is not None), FORMS)


def forms_of_layer(layer: nn.Module) -> Mapping[str, Form] | None:
    """The forms that a layer can be put in, by name; None where it has one alone."""
    if isinstance(layer, FusedSlideAttention | SlideAttention):
        return FORMS
    if isinstance(layer, FusedDeformableAttention | DeformableAttention) and not layer.shape.still:
        return SAMPLINGS
    return None


def stages_of(fused: FusedModel) -> dict[int, str]:
    """Stages whose attention has several forms, in order: channels -> name of the first such layer."""
    stages: dict[int, str] = {}
    for name, layer in fused.module.named_modules():
        if forms_of_layer(layer) is not None:
            stages.setdefault(width(layer), name)
    return stages


def width(layer: nn.Module) -> int:
    """Channels of a layer that has several forms.

    Raises:
        TypeError: it has not.
    """
    if isinstance(layer, FusedSlideAttention | SlideAttention):
        return layer.qkv.in_features
    if isinstance(layer, FusedDeformableAttention | DeformableAttention):
        return layer.shape.dim
    raise TypeError(f"expected an attention that has several forms, found {type(layer).__name__}")
