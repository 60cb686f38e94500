"""What the zoo holds: each variant's size and cost, its authors' figures, and where it was proved.

Two tables are shipped beside the models, so that listing them builds none:

    counts.json   variant -> {"parameters": int, "macs": int, "fused_macs": int}        written by `make counts`
    proved.json   variant -> target -> precision -> {"sqnr_db": float, "evaluator": str}   written by `make matrix`

A variant that counts.json lacks is counted when it is asked for; one that proved.json lacks was proved nowhere.
"""

import importlib.resources
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from slide_export.core.errors import RequestError
from slide_export.core.model import FusedModel
from slide_export.inference.fuse import inference_form
from slide_export.models import FAMILIES, Family, Published

from .inspect import count_macs

TABLES = "slide_export.models"


@dataclass(frozen=True)
class Counts:
    """What one variant is made of, counted at its own input size.

    Attributes:
        parameters: of the train-time form, frozen ones included.
        macs: multiply-adds of convolutions and matrix products for one image, as trained.
        fused_macs: the same of the inference form.
    """

    parameters: int
    macs: int
    fused_macs: int


@dataclass(frozen=True)
class Proof:
    """What a shipped proof says: signal to noise against PyTorch in float64, and which program ran the artifact."""

    sqnr_db: float
    evaluator: str


@dataclass(frozen=True)
class Entry:
    """One variant of the catalogue.

    Attributes:
        image_size: rows and columns of the input.
        published: the authors' figures, None where they gave none.
        proved: target -> precision -> the proof.
    """

    family: str
    variant: str
    image_size: tuple[int, int]
    counts: Counts
    published: Published | None
    proved: Mapping[str, Mapping[str, Proof]]


def catalogue(family: str | None = None) -> tuple[Entry, ...]:
    """Every variant of a family, or of all, in the order of the zoo.

    Raises:
        RequestError: there is no such family.
    """
    names = [each.name for each in FAMILIES]
    if family is not None and family not in names:
        raise RequestError(f"expected a family of {', '.join(names)}; found {family!r}")
    counted, proved = read_table("counts.json"), read_table("proved.json")
    chosen = (each for each in FAMILIES if family in (None, each.name))
    return tuple(_entry(each, name, counted, proved) for each in chosen for name in each.variants)


def _entry(family: Family, name: str, counted: Mapping[str, Any], proved: Mapping[str, Any]) -> Entry:
    return Entry(
        family=family.name,
        variant=name,
        image_size=family.variants[name].image_size,
        counts=Counts(**counted[name]) if name in counted else count(family, name),
        published=family.published.get(name),
        proved={
            target: {precision: Proof(**proof) for precision, proof in precisions.items()}
            for target, precisions in proved.get(name, {}).items()
        },
    )


def count(family: Family, name: str) -> Counts:
    """Counts of a variant, built without memory for its weights."""
    config = family.variants[name]
    with torch.device("meta"):
        module = family.build(config).eval()
        fused = inference_form(module)
    return Counts(
        parameters=sum(value.numel() for value in module.parameters()),
        macs=count_macs(module, config.image_size, family.inputs),
        fused_macs=count_macs(fused, config.image_size, family.inputs),
    )


def macs_of(fused: FusedModel, inputs: int = 1) -> int:
    """Multiply-adds of the inference form for one image; those of a variant as it stands are known."""
    trained, counted = fused.trained, read_table("counts.json")
    as_it_stands = [each.variants.get(trained.variant) for each in FAMILIES if each.name == trained.family]
    if trained.config in as_it_stands and trained.variant in counted:
        return int(counted[trained.variant]["fused_macs"])
    return count_macs(fused.module, trained.image_size, inputs)


def count_all() -> dict[str, dict[str, int]]:
    """The content of counts.json."""
    return {name: asdict(count(family, name)) for family in FAMILIES for name in family.variants}


def read_table(file: str) -> Mapping[str, Any]:
    """A table that is shipped beside the models; empty where it has not been written yet."""
    path = importlib.resources.files(TABLES) / file
    table: Mapping[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return table
