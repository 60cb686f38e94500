"""State dicts that are told by what they are and not exported: their names, and what to do instead."""

import re
from collections.abc import Callable, Collection

from .shapes import has

QUANTIZED = (".SCB", ".absmax", ".quant_state", "._packed_params", ".zero_point", ".qweight", ".weight_scale")
TWO_VIEWS = "patch_embed_1."  # of MV-Swin-T, which has SwinV2's blocks
Refusal = tuple[Callable[[Collection[str]], bool], str]


def _ends(keys: Collection[str], *endings: str) -> bool:
    return any(key.endswith(endings) for key in keys)


def _is_fused_slide(keys: Collection[str]) -> bool:
    shift = any(".attn.dep_conv.weight" in key for key in keys)
    return shift and not any(".dep_conv1." in key for key in keys)


def _is_swin_v2(keys: Collection[str]) -> bool:
    named = _ends(keys, ".attn.logit_scale", ".self.logit_scale", ".attention.logit_scale", ".w_msa.logit_scale")
    return named or any("cpb_mlp." in key or ".continuous_position_bias_mlp." in key for key in keys)


REFUSED: tuple[Refusal, ...] = (
    (
        lambda keys: any("lora_A" in key or "lora_B" in key for key in keys),
        "LoRA adapter weights, which are no model alone: merge them into it (merge_and_unload() of peft), save that",
    ),
    (
        lambda keys: _ends(keys, *QUANTIZED),
        "a quantized checkpoint: export the one in float that it was made from, in any precision",
    ),
    (
        lambda keys: _ends(keys, "_flat_param", "_fsdp_wrapped_module.flat_param"),
        "parameters that FSDP has flattened: save the full state dict (StateDictType.FULL_STATE_DICT), and export that",
    ),
    (
        lambda keys: _ends(keys, "weight_orig") and _ends(keys, "weight_mask"),
        "weights under a pruning mask: call torch.nn.utils.prune.remove on each layer, then save the state dict",
    ),
    (
        lambda keys: _is_swin_v2(keys) and not any(key.startswith(TWO_VIEWS) for key in keys),
        "SwinV2 (cosine attention, positions by an MLP): it is not exported; Swin, of the first version, is",
    ),
    (
        lambda keys: (
            has(keys, r"decoder\.")
            and (
                any("mask_token" in key for key in keys)
                or (
                    has(keys, r"encoder\.(patch_embed|layers\.0\.blocks)\.")
                    and not any(key.endswith(("head.weight", "classifier.weight")) for key in keys)
                )
            )
        ),
        "a SimMIM pre-training file, which has a decoder and no head: fine-tune it for classification, and export that",
    ),
    (
        _is_fused_slide,
        "a Slide-Transformer whose two convolution paths are already fused: export the training checkpoint",
    ),
)
"""Told before any family is tried: some have the names of one and compute something else."""

UNKNOWN_FAMILIES: tuple[Refusal, ...] = (
    (lambda keys: has(keys, r"patch_embeds\.0\.proj") and has(keys, r"(pos_block|position_encodings)\."), "Twins"),
    (lambda keys: any(re.search(r"\.attn\.(pool_q|rel_pos_h|norm_q)", key) for key in keys), "MViTv2"),
    (lambda keys: has(keys, r"blocks\.0\.attn\.qkv\.") and "pos_embed" in keys, "ViT (DeiT, DINO, ...)"),
    (lambda keys: has(keys, r"layer1\.0\.conv1\."), "ResNet"),
    (lambda keys: has(keys, r"stages\.0\.blocks\.0\.conv_dw\.|features\.1\.0\.block\."), "ConvNeXt"),
    (lambda keys: has(keys, r"vit\.encoder\.layer\."), "transformers ViT"),
    (lambda keys: has(keys, r"encoder\.layers\.encoder_layer_0\."), "torchvision ViT"),
)
"""Told where no family here has the names."""


OTHER_HEADS: tuple[Refusal, ...] = (
    (lambda keys: has(keys, r"roi_head\.bbox_head\.\d+\."), "a Cascade R-CNN"),
    (lambda keys: has(keys, r"roi_head\.mask_head\."), "a Mask R-CNN"),
    (lambda keys: has(keys, r"roi_head\."), "a Faster R-CNN"),
    (lambda keys: has(keys, r"(decode|panoptic)_head\.(transformer_decoder|query_feat)"), "a Mask2Former"),
    (lambda keys: has(keys, r"bbox_head\.(transformer|query_embedding)|decoder\.layers\."), "a DETR"),
    (lambda keys: has(keys, r"bbox_head\.(atss|fcos|conv_centerness)"), "an ATSS or FCOS"),
    (lambda keys: has(keys, r"rpn_head\."), "a region proposal network"),
)
"""Segmenters and detectors around a backbone whose heads are not exported."""


def refusal(keys: Collection[str], refusals: tuple[Refusal, ...] = REFUSED) -> str:
    """Say what a state dict is that cannot be exported; "" where it may be."""
    return next((sentence for matches, sentence in refusals if matches(keys)), "")
