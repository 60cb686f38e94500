"""State dicts that are refused by what they are: names that tell, and names that nearly do."""

import pytest

from slide_export.models.formats.refused import OTHER_HEADS, QUANTIZED, REFUSED, UNKNOWN_FAMILIES, refusal

SOUND = ["patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight", "head.weight"]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["layers.0.attn.qkv.lora_A.weight"], "LoRA adapter weights"),
        (["layers.0.attn.qkv.lora_B.default.weight"], "LoRA adapter weights"),
        *(([f"head{ending}"], "a quantized checkpoint") for ending in QUANTIZED),
        (["_flat_param"], "FSDP has flattened"),
        (["layers.0._fsdp_wrapped_module.flat_param"], "FSDP has flattened"),
        (["head.weight_orig", "head.weight_mask"], "pruning mask"),
        (["layers.0.blocks.0.attn.logit_scale"], "SwinV2"),
        (["layers.0.blocks.0.attn.cpb_mlp.0.weight"], "SwinV2"),
        (["layers.0.blocks.0.attn.dep_conv.weight"], "already fused"),
    ],
)
def test_a_name_tells_what_it_is(more: list[str], told: str) -> None:
    assert told in refusal([*SOUND, *more])


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["head.weight_orig"],  # without a mask: anybody's name
        ["layers.0.blocks.0.attn.dep_conv.weight", "layers.0.blocks.0.attn.dep_conv1.weight"],
        ["patch_embed_1.proj.weight", "layers.0.blocks.0.attn.logit_scale"],  # MV-Swin-T
        ["decoder.weight"],
    ],
)
def test_what_may_be_exported_is_not_refused(more: list[str]) -> None:
    assert refusal([*SOUND, *more]) == ""


def test_a_pre_training_file_has_a_decoder_and_a_mask_or_no_head() -> None:
    body = ["encoder.patch_embed.proj.weight", "decoder.0.weight"]
    assert "SimMIM" in refusal(body)
    assert "SimMIM" in refusal(["decoder.0.weight", "encoder.mask_token"])
    assert refusal([*body, "head.weight"]) == ""
    assert refusal(body[:1]) == ""


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["patch_embeds.0.proj.weight", "pos_block.0.weight"], "Twins"),
        (["blocks.0.attn.pool_q.weight"], "MViTv2"),
        (["blocks.0.attn.qkv.weight", "pos_embed"], "ViT (DeiT, DINO, ...)"),
        (["layer1.0.conv1.weight"], "ResNet"),
        (["stages.0.blocks.0.conv_dw.weight"], "ConvNeXt"),
        (["vit.encoder.layer.0.weight"], "transformers ViT"),
        (["encoder.layers.encoder_layer_0.mlp.weight"], "torchvision ViT"),
        (["blocks.0.attn.qkv.weight"], ""),
    ],
)
def test_families_that_are_known_and_not_here(names: list[str], told: str) -> None:
    assert refusal(names, UNKNOWN_FAMILIES) == told


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["roi_head.bbox_head.0.fc_cls.weight"], "a Cascade R-CNN"),
        (["roi_head.mask_head.convs.0.weight", "roi_head.bbox_head.fc_cls.weight"], "a Mask R-CNN"),
        (["roi_head.bbox_head.fc_cls.weight"], "a Faster R-CNN"),
        (["decode_head.transformer_decoder.layers.0.weight"], "a Mask2Former"),
        (["bbox_head.transformer.encoder.weight"], "a DETR"),
        (["bbox_head.atss_cls.weight"], "an ATSS or FCOS"),
        (["rpn_head.rpn_conv.weight"], "a region proposal network"),
        (["bbox_head.retina_cls.weight"], ""),
    ],
)
def test_heads_that_are_not_exported(names: list[str], told: str) -> None:
    assert refusal(names, OTHER_HEADS) == told


def test_the_first_that_matches_is_said() -> None:
    assert refusal(["a.lora_A.weight", "head.zero_point"]) == REFUSED[0][1]
