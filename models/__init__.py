"""The model zoo: one family a file. A new family is its file and one line in `FAMILIES`."""

from . import cswin, nat, pvt, pvt_v2, slide_cswin, slide_nat, slide_pvt, slide_pvt_v2, slide_swin, swin
from .data import DataConfig
from .family import Config, Family, Published, ShapeError, State

FAMILIES: tuple[Family, ...] = (
    slide_swin.FAMILY,  # before swin, whose key names it shares
    swin.FAMILY,
    slide_cswin.FAMILY,
    cswin.FAMILY,
    slide_nat.FAMILY,
    nat.FAMILY,
    slide_pvt.FAMILY,
    pvt.FAMILY,
    slide_pvt_v2.FAMILY,
    pvt_v2.FAMILY,
)

__all__ = ["FAMILIES", "Config", "DataConfig", "Family", "Published", "ShapeError", "State", "family_of", "variants"]


def variants() -> tuple[str, ...]:
    """Returns every variant's name, family by family."""
    return tuple(name for family in FAMILIES for name in family.variants)


def family_of(variant: str) -> Family:
    """Returns the family that has a variant of this name.

    Raises:
        KeyError: no family has it.
    """
    for family in FAMILIES:
        if variant in family.variants:
            return family
    raise KeyError(variant)
