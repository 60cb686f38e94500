"""The model zoo: one family a file. A new family is its file and one line in `FAMILIES`."""

from collections.abc import Sequence

from . import (
    boat_cswin,
    boat_swin,
    cbam,
    cswin,
    dat,
    gam,
    im2col_swin,
    mv_swin_t,
    mvitv2,
    nat,
    nbnet,
    pvt,
    pvt_v2,
    slide_cswin,
    slide_nat,
    slide_pvt,
    slide_pvt_v2,
    slide_swin,
    swin,
    twins,
)
from .data import DataConfig
from .dense import DENSE
from .family import Config, Family, IncompleteError, Published, ShapeError, State, coupled
from .model_value import ModelValue

FAMILIES: tuple[Family, ...] = (
    slide_swin.FAMILY,  # before swin, whose key names it shares
    boat_swin.FAMILY,  # likewise
    swin.FAMILY,
    slide_cswin.FAMILY,
    boat_cswin.FAMILY,  # before cswin, whose key names it shares
    cswin.FAMILY,
    slide_nat.FAMILY,
    nat.FAMILY,
    slide_pvt.FAMILY,
    pvt.FAMILY,
    slide_pvt_v2.FAMILY,
    pvt_v2.FAMILY,
    twins.FAMILY,
    dat.FAMILY,
    mvitv2.FAMILY,
    cbam.FAMILY,
    gam.FAMILY,
    mv_swin_t.FAMILY,
    nbnet.FAMILY,
)

EXPORTED: tuple[Family, ...] = (*FAMILIES, *DENSE)
"""What a checkpoint may be of: classifiers, and segmenters and detectors around their backbones."""

COMPARISON: tuple[Family, ...] = (
    im2col_swin.FAMILY,  # what the paper argues against
)
"""Built and measured by `compare`, never offered, recognised or exported: they break rules that the targets need."""

ALL: tuple[Family, ...] = (*COMPARISON, *FAMILIES)
"""What `compare` builds; Im2Col's family stands before swin, whose key names it shares."""

LOADABLE: tuple[Family, ...] = (*COMPARISON, *EXPORTED)
"""What a checkpoint may be of where models for comparison are taken too."""

__all__ = [
    "ALL",
    "COMPARISON",
    "DENSE",
    "EXPORTED",
    "FAMILIES",
    "LOADABLE",
    "Config",
    "DataConfig",
    "Family",
    "IncompleteError",
    "ModelValue",
    "Published",
    "ShapeError",
    "State",
    "coupled",
    "family_named",
    "family_of",
    "ships",
    "variants",
]


def ships(family: str) -> bool:
    """Whether models of the family may be exported, rather than measured only."""
    return all(family != refused.name for refused in COMPARISON)


def variants() -> tuple[str, ...]:
    """Names of all variants, family by family."""
    return tuple(name for family in FAMILIES for name in family.variants)


def family_named(name: str) -> Family:
    """Find the family of this name, of those for comparison and of segmenters and detectors too.

    Raises:
        KeyError: there is none.
    """
    return next(family for family in LOADABLE if family.name == name)


def family_of(variant: str, families: Sequence[Family] = FAMILIES) -> Family:
    """Family that has a variant of this name.

    Raises:
        KeyError: none has it.
    """
    for family in families:
        if variant in family.variants:
            return family
    raise KeyError(variant)
