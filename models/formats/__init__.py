"""Checkpoint formats of other libraries: one file a library, in the order in which they are tried.

    recognise({"swin.embeddings.norm.weight", ...})  ->  transformers Swin, with "swin." before the body's names

A format's key map renames a state dict to this project's names; its `read` tells what the library's own files say and
what its code does otherwise under the same weights. A new library is a file and a line in `FORMATS`.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from . import dense, official, openmmlab, timm, torchvision, transformers
from .format import Beside, Format, Told
from .key_map import Origin, Renamed, rename
from .refused import OTHER_HEADS, REFUSED, UNKNOWN_FAMILIES, refusal

FORMATS: tuple[Format, ...] = (
    *dense.FORMATS,  # first: the names inside are those of the backbone alone
    *timm.FORMATS,
    *torchvision.FORMATS,
    *transformers.FORMATS,
    *openmmlab.FORMATS,
    *official.FORMATS,
    transformers.DINAT_FORMAT,  # before NAT, whose names it has: told by its prefix or its configuration
    transformers.NAT_FORMAT,
)

NO_CONFIG: Mapping[str, Any] = MappingProxyType({})
BODIES = ("swin.", "pvt_v2.", "pvt.", "dinat.", "nat.", "backbone.", "timm_model.")
"""What a classifier puts before the names of its body and not before those of its head."""
OWN_BODIES = ("encoder.", "model.")
"""The same, of training codes: other models may stand beside, so nothing but a head may."""
HEADS = ("head.", "classifier.", "fc.")

__all__ = [
    "FORMATS",
    "OTHER_HEADS",
    "REFUSED",
    "UNKNOWN_FAMILIES",
    "Beside",
    "Format",
    "Origin",
    "Recognised",
    "Renamed",
    "Told",
    "recognise",
    "refusal",
    "rename",
]


@dataclass(frozen=True)
class Recognised:
    """A state dict whose format is known.

    Attributes:
        format: the format.
        body: what stands before the names of the body, "" where nothing does.
        keys: name without it -> name in the file.
    """

    format: Format
    body: str
    keys: Mapping[str, str]


def recognise(keys: Collection[str], config: Mapping[str, Any] = NO_CONFIG, *, heads: bool = True) -> Recognised | None:
    """Tell the format of a state dict from its names; None where they are official or of no format.

    Args:
        keys: names of the tensors.
        config: config.json, which tells whose the names are where they do not.
        heads: whether those of a segmenter or detector are taken with their backbone.
    """
    for body in ("", *BODIES, *OWN_BODIES):
        if body and not any(key.startswith(body) for key in keys):
            continue
        if body in OWN_BODIES and not all(key.startswith((body, *HEADS)) for key in keys):
            continue
        renamed = {key.removeprefix(body): key for key in keys}
        if heads and (found := next(dense.candidates(renamed.keys()), None)) is not None:
            return Recognised(found, body, renamed)
        for candidate in FORMATS[len(dense.FORMATS) :]:
            named = candidate.matches(renamed.keys()) and candidate.only_with in ("", *config)
            if named and not _is_other_nat(candidate, body, config.get("model_type")):
                return Recognised(candidate, body, renamed)
    return None


def _is_other_nat(candidate: Format, body: str, model_type: Any) -> bool:
    """Whether a format has the right names and is the other one of NAT and DiNAT."""
    is_dinat = body == "dinat." or model_type == "dinat"
    return (candidate is transformers.DINAT_FORMAT and not is_dinat) or (
        candidate is transformers.NAT_FORMAT and is_dinat
    )
