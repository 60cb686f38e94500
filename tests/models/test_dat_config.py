"""The numbers of a DAT: resolutions by the kind of patches, another input size, and what upstream fails on."""

from dataclasses import replace

import pytest

from slide_export.models.dat_config import DatConfig
from slide_export.models.family import ShapeError
from tests.models import dat_configs

SMALL = dat_configs.SMALL
TINY = DatConfig(
    dims=(96, 192, 384, 768),
    blocks=("LS", "LS", "LD", "LD"),
    heads=(3, 6, 12, 24),
    plus_plus=False,
    groups=(1, 1, 3, 6),
    strides=(1, 1, 1, 1),
    offset_factors=(2.0,) * 4,
)


@pytest.mark.parametrize(("conv_patches", "side"), [(False, 56), (True, 57)])
def test_overlapping_patches_round_up(conv_patches: bool, side: int) -> None:
    config = replace(TINY, image_size=(225, 224), conv_patches=conv_patches)
    assert config.resolution(0) == (side, 56)
    assert config.resolution(3) == (8 if conv_patches else 7, 7)


def test_windows_grow_with_the_input_as_in_the_published_configuration() -> None:
    """configs/dat_base_384.yaml: window 7 at 224 becomes 12."""
    assert TINY.at((384, 384)).windows == (12, 12, 12, 12)
    assert TINY.at((224, 224)).windows == TINY.windows


@pytest.mark.parametrize(("plus_plus", "bias_size"), [(False, None), (True, (224, 224))])
def test_only_the_second_generation_keeps_its_biases(plus_plus: bool, bias_size: tuple[int, int] | None) -> None:
    config = replace(TINY, plus_plus=plus_plus)
    larger = config.at((384, 384))
    assert larger.bias_size == bias_size
    assert larger.at((224, 224)).bias_size is None  # back at the size that they were made for
    assert larger.deformable(2).table == ((14, 14) if plus_plus else (24, 24))


@pytest.mark.parametrize(
    ("change", "table"), [({}, True), ({"biased": (False,) * 4}, False), ({"still": (True,) * 4}, False)]
)
def test_points_that_do_not_move_have_no_table(change: dict[str, tuple[bool, ...]], table: bool) -> None:
    assert (replace(TINY, **change).deformable(2).table is not None) == table


def test_a_stage_with_windows_is_local() -> None:
    config = replace(TINY, blocks=("L", "S", "ND", "DD"))
    assert [config.local(stage) for stage in range(4)] == [True, True, False, False]


def test_what_upstream_fails_on_is_refused() -> None:
    TINY.refuse_misfits()
    with pytest.raises(ShapeError, match="blocks of X, where L, S, N and D are modelled"):
        replace(TINY, blocks=("LX", "LS", "LD", "LD")).refuse_misfits()
    with pytest.raises(ShapeError):
        replace(TINY, image_size=(232, 224)).refuse_misfits()  # 58 rows are no windows of 7
    with pytest.raises(ShapeError):
        TINY.at((232, 232 - 8))


def test_the_small_ones_of_the_tests_fit() -> None:
    SMALL.refuse_misfits()
    dat_configs.PLUS_PLUS.refuse_misfits()
