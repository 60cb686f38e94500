"""torchvision's Swin: the windows stay at every input size, and zeros fill those that a map leaves empty.

Source: torchvision 0.28.0, torchvision/models/swin_transformer.py, SwinTransformer, shifted_window_attention and the
presets of Swin_T_Weights, Swin_S_Weights and Swin_B_Weights.
"""

from collections.abc import Collection

from slide_export.models.data import DataConfig
from slide_export.models.family import State

from .format import Beside, Format, Told, untold_input
from .key_map import Rule, as_square, layer
from .shapes import last_norm, swin_fields

RESIZED = {(96, 6): 232, (96, 18): 246, (128, 18): 238}
"""Width and depth of the third stage of swin_t, swin_s and swin_b -> the short side before the crop of 224."""


def _stage(stage: int) -> tuple[Rule, ...]:
    blocks, merging = f"features.{2 * stage + 1}.{{j}}", f"features.{2 * stage + 2}"
    ours = f"layers.{stage}.blocks.{{j}}"
    index = "attn.relative_position_index"
    return (
        layer(f"{blocks}.mlp.0", f"{ours}.mlp.fc1"),
        layer(f"{blocks}.mlp.3", f"{ours}.mlp.fc2"),
        Rule(f"{blocks}.{index}", {f"{ours}.{index}": as_square}),
        Rule(f"{blocks}.attn.{{x}}", f"{ours}.attn.{{x}}"),
        layer(f"{blocks}.norm1", f"{ours}.norm1"),
        layer(f"{blocks}.norm2", f"{ours}.norm2"),
        layer(f"{merging}.{{b}}", f"layers.{stage}.downsample.{{b}}"),
    )


SWIN = (
    layer("features.0.0", "patch_embed.proj"),
    layer("features.0.2", "patch_embed.norm"),
    *(rule for stage in range(8) for rule in _stage(stage)),
    layer("norm", "norm"),
    layer("head", "head"),
)


def is_swin(keys: Collection[str]) -> bool:
    """Whether these are the names of torchvision's Swin."""
    return "features.0.0.weight" in keys and "features.1.0.attn.relative_position_bias_table" in keys


def read_swin(state: State, beside: Beside) -> Told:
    """Read a Swin: torchvision saves nothing beside the weights."""
    fields = swin_fields(state, {"resized_window": "keep", "small_maps": "pad", "whole_patches": True}, beside)
    depths = fields["depths"]
    resized = RESIZED.get((fields["embed_dim"], depths[2] if len(depths) > 2 else 0))
    data = DataConfig(scale=(resized or 256) / 224)
    whose = "of this size" if resized else "of no size of torchvision's, so 256 of 224,"
    return Told(
        fields,
        data,
        beside.labels,
        assumed=(untold_input(fields["image_size"], "32 times the window"),),
        filled=last_norm(state),
        images_assumed=(f"no file tells the preprocessing: torchvision's preset {whose} is assumed",),
    )


FORMATS = (Format("torchvision Swin", "swin", is_swin, SWIN, read_swin),)
