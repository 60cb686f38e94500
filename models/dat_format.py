"""What tells a DAT from a DAT++, and their numbers: shapes of a state dict, or upstream's own configuration.

No shape tells strides and factors; no key tells whether an attention without position biases lost them or stands still.
Source: LeapLabTHU/DAT 566a593 (DAT) and 32173fc (DAT++), models/dat.py, models/dat_blocks.py and configs/.
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from torch import Tensor

from . import config_tree
from .dat_config import FACTORS, KERNELS, LOCAL, PATCH, STRIDES, DatConfig
from .family import IncompleteError, ShapeError, State, classes, depths
from .typed_value import typed

STAGES = 4
PLUS_PLUS = (
    r"\.attns\.\d+\.rpb",
    r"\.local_perception_units\.",
    r"\.layer_scales\.",
    r"\.linear1\.0\.",
    r"^patch_proj\.3\.",
)
"""Keys that DAT++'s code alone makes."""
OTHERS = {"kv.weight": "P", "weight": "X", "dep_conv1.weight": "E", "q_param": "Q"}
"""Letters of attention that no published model has, by a key of theirs."""
PP_OPTIONS = ("ksizes", "nat_ksizes", "use_lpus", "layer_scale_values", "log_cpb")
"""Options of the constructor that DAT++'s code alone has."""
NEEDED = ("stage_spec", "dims", "heads", "strides")
OPTIONS = frozenset(
    """
    img_size patch_size num_classes expansion dim_stem dims depths heads heads_q window_sizes drop_rate attn_drop_rate
    drop_path_rate strides offset_range_factor stage_spec groups use_pes dwc_pes sr_ratios lower_lr_kvs fixed_pes
    no_offs ns_per_pts use_dwc_mlps use_conv_patches ksizes ksize_qnas nqs qna_activation nat_ksizes layer_scale_values
    use_lpus log_cpb
    """.split()  # noqa: SIM905
)
"""All options of both constructors: read, or without effect on the letters that are modelled."""


def matches(state: State) -> bool:
    """Whether the keys are those of a DAT or DAT++."""
    return "patch_proj.0.weight" in state and "cls_norm.norm.weight" in state and "stages.0.attns.0" in _places(state)


def infer(state: State) -> DatConfig:
    """Read the configuration that the shapes of a DAT or DAT++ state dict tell.

    Raises:
        ShapeError: the shapes fit no such model, or leave its attention open.
    """
    counts = depths(state, r"stages\.(\d+)\.attns\.(\d+)\.")
    blocks = tuple(
        "".join(_letter(state, f"stages.{stage}.attns.{block}.") for block in range(count))
        for stage, count in enumerate(counts)
    )
    stages = [_Stage(state, n, letters) for n, letters in enumerate(blocks)]
    plus_plus = any(re.search(mark, key) for key in state for mark in PLUS_PLUS)
    size = _image_size(stages)
    return DatConfig(
        dims=tuple(stage.dim for stage in stages),
        blocks=blocks,
        heads=tuple(stage.heads for stage in stages),
        plus_plus=plus_plus,
        groups=tuple(stage.groups for stage in stages),
        strides=STRIDES[plus_plus],
        offset_factors=(FACTORS[plus_plus],) * STAGES,
        offset_kernels=tuple(stage.offset_kernel for stage in stages),
        windows=tuple(stage.window for stage in stages),
        neighborhoods=tuple(stage.neighborhood for stage in stages),
        depthwise_mlps=tuple(f"stages.{n}.mlps.0.dwc.weight" in state for n in range(STAGES)),
        perception_units=tuple(f"stages.{n}.local_perception_units.0.weight" in state for n in range(STAGES)),
        layer_scales=tuple(f"stages.{n}.layer_scales.0.weight" in state for n in range(STAGES)),
        conv_patches=state["down_projs.0.0.weight"].shape[2] == 3,
        mlp_ratio=stages[0].hidden // stages[0].dim,
        image_size=size,
        num_classes=classes(state, "cls_head"),
    )


class _Stage:
    """What the shapes of one stage tell; of attention that it has not, what every published model has."""

    def __init__(self, state: State, stage: int, letters: str) -> None:
        self.letters, self._state, self._place = letters, state, f"stages.{stage}."
        self.number, self.dim = stage, state[f"{self._place}layer_norms.0.norm.weight"].shape[0]

    def first(self, letters: str, name: str) -> Tensor | None:
        """Find a tensor of the first block with one of the letters."""
        block = next((index for index, letter in enumerate(self.letters) if letter in letters), None)
        return None if block is None else self._state[f"{self._place}attns.{block}.{name}"]

    @property
    def table(self) -> Tensor | None:
        """The position biases of deformable attention, [nH, 2H - 1, 2W - 1]."""
        return self.first("D", "rpe_table")

    @property
    def heads(self) -> int:
        """From any table of position biases."""
        for letters, name, axis in ((LOCAL, "relative_position_bias_table", 1), ("N", "rpb", 0), ("D", "rpe_table", 0)):
            table = self.first(letters, name)
            if table is not None:
                return table.shape[axis]
        raise ShapeError(f"stage {self.number + 1} without blocks")

    @property
    def groups(self) -> int:
        """From the channels of the offsets' convolution."""
        conv = self.first("D", "conv_offset.0.weight")
        return 1 if conv is None else self.dim // conv.shape[0]

    @property
    def offset_kernel(self) -> int:
        """Side of the offsets' convolution."""
        conv = self.first("D", "conv_offset.0.weight")
        return KERNELS[self.number] if conv is None else conv.shape[2]

    @property
    def window(self) -> int:
        """Side of the windows."""
        table = self.first(LOCAL, "relative_position_bias_table")
        return DatConfig.windows[self.number] if table is None else (math.isqrt(table.shape[0]) + 1) // 2

    @property
    def neighborhood(self) -> int:
        """Side of the neighbourhoods."""
        table = self.first("N", "rpb")
        return DatConfig.neighborhoods[self.number] if table is None else (table.shape[1] + 1) // 2

    @property
    def hidden(self) -> int:
        """Hidden width of the MLPs."""
        names = (f"{self._place}mlps.0.{name}.bias" for name in ("chunk.linear1", "linear1.0", "linear1"))
        return next(self._state[name].shape[0] for name in names if name in self._state)

    @property
    def image_size(self) -> tuple[int, int] | None:
        """The input for which the position biases or a shift mask were made; None where there is neither."""
        if self.table is not None:
            rows, cols = ((side + 1) // 2 * (PATCH << self.number) for side in self.table.shape[1:])
            return rows, cols
        mask = self.first("S", "attn_mask")
        if mask is None:
            return None
        side = math.isqrt(mask.shape[0] * mask.shape[1]) * (PATCH << self.number)
        return side, side


def _places(state: State) -> set[str]:
    return {m[0] for key in state if (m := re.match(r"stages\.\d+\.attns\.\d+", key))}


def _letter(state: State, place: str) -> str:
    """Find the attention of a block; deformable attention must have position biases, in the form that is modelled.

    Raises:
        ShapeError: it is one that is not modelled, or is left open.
    """
    if f"{place}proj_qkv.weight" in state:
        return "S" if f"{place}attn_mask" in state else "L"
    if f"{place}rpb" in state:
        return "N"
    if f"{place}conv_offset.0.weight" not in state:
        other = next((letter for name, letter in OTHERS.items() if f"{place}{name}" in state), "?")
        raise ShapeError(f"attention of letter {other} in {place[:-1]}, where L, S, N and D are modelled")
    if f"{place}rpe_table" in state:
        return "D"
    if any(key.startswith(f"{place}rpe_table.") for key in state):
        raise ShapeError(f"position biases in {place[:-1]} that a layer computes (upstream dwc_pe, log_cpb)")
    raise ShapeError(
        f"no position biases in {place[:-1]}: no shape tells whether its points stand still (upstream no_offs) or not "
        "(use_pes)"
    )


def _image_size(stages: Sequence[_Stage]) -> tuple[int, int]:
    """Find the input that the first stage with position biases, else with a shift mask, was made for."""
    tables = [stage for stage in stages if stage.table is not None]
    return next((size for stage in (*tables, *stages) if (size := stage.image_size)), DatConfig.image_size)


def read_config(tree: Mapping[str, Any]) -> DatConfig | None:
    """Read the configuration in upstream's config tree, or in this project's; None where it is another family's.

    Raises:
        IncompleteError: it does not tell the whole model.
        ShapeError: upstream's tree asks for something that is not modelled.
    """
    options = config_tree.branch(config_tree.branch(tree, "MODEL"), "DAT")
    if "img_size" not in options:
        return config_tree.read_config(tree, "dat", DatConfig)
    if missing := [f"MODEL.DAT.{name}" for name in NEEDED if name not in options]:
        raise IncompleteError(missing)
    config_tree.refuse_unknown(options, OPTIONS, "MODEL.DAT")
    with config_tree.reading("MODEL.DAT"):
        return _from_options(options, config_tree.branch(tree, "DATA"))


def _from_options(options: Mapping[str, Any], data: Mapping[str, Any]) -> DatConfig:
    blocks = tuple("".join(letters) for letters in options["stage_spec"])
    plus_plus = any(name in options for name in PP_OPTIONS)
    made_for = config_tree.sides(options["img_size"], "MODEL.DAT.img_size")
    image_size = config_tree.sides(data["IMG_SIZE"]) if "IMG_SIZE" in data else made_for
    _refuse_unmodelled(options, blocks)

    def told(name: str, letters: str, value: Any, kind: Any) -> tuple[Any, ...]:
        """An option of each stage with one of the letters; elsewhere, and where it is not told, the given value."""
        values = options.get(name, [value] * STAGES)
        return tuple(
            typed(v, kind, f"MODEL.DAT.{name}") if set(letters) & set(own) else kind(value)
            for v, own in zip(values, blocks, strict=True)
        )

    def each(name: str, kind: Any) -> tuple[Any, ...]:
        """An option of one value a stage."""
        return typed(options[name], tuple[kind, ...], f"MODEL.DAT.{name}")

    default = DatConfig
    return DatConfig(
        dims=each("dims", int),
        blocks=blocks,
        heads=each("heads", int),
        plus_plus=plus_plus,
        groups=told("groups", "D", 1, int),
        strides=tuple(
            int(stride) if "D" in own else STRIDES[plus_plus][n]
            for n, (stride, own) in enumerate(zip(options["strides"], blocks, strict=True))
        ),
        offset_factors=told("offset_range_factor", "D", FACTORS[plus_plus], float),
        offset_kernels=tuple(
            int(kernel) if "D" in own else KERNELS[n]
            for n, (kernel, own) in enumerate(zip(options.get("ksizes", KERNELS), blocks, strict=True))
        ),
        biased=told("use_pes", "D", default.biased[0], bool),
        still=told("no_offs", "D", default.still[0], bool),
        windows=told("window_sizes", LOCAL, default.windows[0], int),
        neighborhoods=told("nat_ksizes", "N", default.neighborhoods[0], int),
        depthwise_mlps=tuple(map(bool, options.get("use_dwc_mlps", default.depthwise_mlps))),
        perception_units=tuple(map(bool, options.get("use_lpus", default.perception_units))),
        layer_scales=tuple(value > 0 for value in options.get("layer_scale_values", (-1,) * STAGES)),
        conv_patches=bool(options.get("use_conv_patches", False)),
        mlp_ratio=typed(options.get("expansion", default.mlp_ratio), int, "MODEL.DAT.expansion"),
        bias_size=made_for if plus_plus and made_for != image_size else None,
        image_size=image_size,
        num_classes=typed(options.get("num_classes", default.num_classes), int, "MODEL.DAT.num_classes"),
    )


def _refuse_unmodelled(options: Mapping[str, Any], blocks: Sequence[str]) -> None:
    """Refuse what upstream's constructor knows and this code does not, by name.

    Raises:
        ShapeError: the options ask for it.
    """
    if options.get("patch_size", PATCH) != PATCH:
        raise ShapeError(f"MODEL.DAT.patch_size {options['patch_size']}, where {PATCH} alone is modelled")
    for name in ("dwc_pes", "fixed_pes", "log_cpb"):
        if any(on and "D" in own for on, own in zip(options.get(name, ()), blocks, strict=False)):
            raise ShapeError(f"MODEL.DAT.{name}, where position biases from a table alone are modelled")
    dims = list(options["dims"])
    if options.get("dim_stem", dims[0]) != dims[0] or any(wide != 2 * dim for dim, wide in pairwise(dims)):
        raise ShapeError(f"MODEL.DAT.dim_stem and dims {dims}, where stages double from dim_stem on")
