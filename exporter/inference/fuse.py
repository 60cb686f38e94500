"""Model -> FusedModel: each layer's own `fuse()` is asked, and the result is certified on real features."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from slide_export.core.errors import FusionError
from slide_export.core.model import BlockCertificate, FusedModel, Model

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

UNIT_ROUNDOFF = 2.0**-24  # of float32: the stored sum w of two kernels is off by at most UNIT_ROUNDOFF * |w|
SLACK = 1e-9  # relative; float64 arithmetic of the certificate itself


def fuse(model: Model) -> FusedModel:
    """Inference form of a model; weights that fusing leaves alone are shared, the model is not changed.

    Raises:
        FusionError: the model is fused already.
    """
    if isinstance(model, FusedModel):
        raise FusionError("expected a trained model, found one that is fused already: fuse the checkpoint's model once")
    return FusedModel(inference_form(model.module), model)


def inference_form(module: nn.Module) -> nn.Module:
    """Copy a module in eval mode, sharing its weights, with each layer replaced by its own `fuse()`."""
    return replace_layers(module, lambda layer: layer.fuse() if hasattr(layer, "fuse") else None)


def replace_layers(module: nn.Module, new: Callable[[Any], nn.Module | None]) -> nn.Module:
    """Copy a module in eval mode, sharing its weights, with layers replaced; the module is not changed.

    Args:
        new: the layer to put in another's place, None to leave it.
    """
    # The memo of deepcopy: what it holds is shared, not copied.
    shared = {id(value): value for value in (*module.parameters(), *module.buffers())}
    copied = copy.deepcopy(module, shared)
    for name, layer in list(copied.named_modules()):  # a list: layers are replaced meanwhile
        replacement = new(layer)
        if replacement is not None:
            parent, _, child = name.rpartition(".")
            setattr(copied.get_submodule(parent), child, replacement)
    return copied.eval()


def certify(fused: FusedModel, images: tuple[Tensor, ...]) -> tuple[BlockCertificate, ...]:
    """Certify each pair of fused convolutions.

    The keys and the values of every tap are computed by both forms in float64 on the features that reach them, from
    the stored float32 tensors, so their only difference is the rounding of the summed weights:

        two paths    shift(x) + learned(x)           w_s * x + b_s + w_l * x + b_l
        fused        one(x)                          fl32(w_s + w_l) * x + fl32(b_s + b_l)
        bound        |fused - two paths|             <= u * (|w| * |x| + |b|), u = 2^-24

    Args:
        images: a normalised batch [B, 3, H, W] an input, float32.

    Raises:
        FusionError: a difference exceeds its bound.
    """
    features = _features(fused.trained.module, images)
    certificates = tuple(
        _certify(name, fused.trained.module.get_submodule(name), fused.module.get_submodule(name), inputs)
        for name, inputs in features.items()
    )
    for block in certificates:
        if not block.within:
            raise FusionError(
                f"{block.block}: the fused convolution differs from its two paths by {block.difference:.3g}, "
                f"more than rounding can ({block.bound:.3g}): report this, the fused weights are wrong"
            )
    return certificates


def _features(module: nn.Module, images: tuple[Tensor, ...]) -> dict[str, list[Tensor]]:
    """Inputs of each two-path convolution (keys, then values) in float64, by its attention's module name."""
    import torch

    seen: dict[str, list[torch.Tensor]] = {}
    hooks = []
    for name, layer in module.named_modules():
        if hasattr(layer, "dep_conv1"):  # both paths: slide attention in its train-time form
            seen[name] = []
            hooks.append(layer.dep_conv.register_forward_pre_hook(_recorder(seen[name])))
    try:
        with torch.inference_mode():
            module(*images)
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def _recorder(store: list[Tensor]) -> Any:
    return lambda _module, inputs: store.append(inputs[0].double())


def _certify(name: str, trained: Any, fused: Any, inputs: list[Tensor]) -> BlockCertificate:
    import torch

    difference = bound = 0.0
    within = True
    two, one, magnitude = (copy.deepcopy(layer).double() for layer in (trained, fused, fused))
    with torch.inference_mode():
        for stored in magnitude.parameters():
            stored.abs_()  # |w| and |b|: each term may be off by u of its size
        for taps, x in zip(("keys", "values"), inputs, strict=True):
            gap = (getattr(one, taps)(x) - getattr(two, taps)(x)).abs()
            # SLACK**2: where |w| * |x| + |b| is 0.
            allowed = getattr(magnitude, taps)(x.abs()) * UNIT_ROUNDOFF * (1 + SLACK) + SLACK**2
            within = within and bool((gap <= allowed).all())
            difference, bound = max(difference, float(gap.max())), max(bound, float(allowed.max()))
    return BlockCertificate(name, difference, bound, within, trained.drift())
