"""Whether a golden file fits its manifest: the inputs and outputs that it names, of their types, shapes and number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.errors import BundleError
from slide_export.core.graph import TensorSpec
from slide_export.core.proof import BATCH_SIZES, Reference
from slide_export.core.text import foreign

from .manifest import GOLDEN, Manifest

LARGEST_FEED = 2**29
"""Bytes of one batch: 850 images of 224x224 in float32. No file says how much memory a machine has for them."""


def refuse_misfit(reference: Reference, manifest: Manifest, source: str) -> None:
    """Refuse a golden file from which nothing can be proved.

    Args:
        source: the bundle, for the message.

    Raises:
        BundleError: says which part does not fit.
    """
    for problem in _problems(reference, manifest):
        raise BundleError(f"expected a {GOLDEN} that fits the manifest in {source}, found {problem}: export it again")


def _problems(reference: Reference, manifest: Manifest) -> Iterator[str]:
    count = len(reference.images)
    if not count:
        yield "no image in it"
    bytes_too = frozenset({"uint8"} if manifest.options.embed_preprocessing else ())  # CoreML's tensors are float32
    yield from _misfits("input", reference.feeds, manifest.inputs, count, bytes_too)
    for kind, outputs in (("output", reference.exact), ("rounded output", reference.rounded)):
        yield from _misfits(kind, outputs, manifest.outputs, count, decided=frozenset(reference.margins))
        if manifest.parity.passed:  # a refused bundle is kept to be diagnosed, perhaps for its infinities
            yield from (
                f"numbers in the {kind} {foreign(n)} that are not finite" for n, v in outputs.items() if _odd(v)
            )
    for name, exact in reference.exact.items():
        if exact.shape != reference.rounded[name].shape:
            yield f"{foreign(name)} of shape {exact.shape} and, rounded, {reference.rounded[name].shape}"
    yield from _undecided(reference, manifest)
    yield from _too_large(reference, manifest)


def _undecided(reference: Reference, manifest: Manifest) -> Iterator[str]:
    """What is wrong with the margins of outputs that are decisions: these are the outputs of whole numbers."""
    whole = {spec.name for spec in manifest.outputs if spec.dtype.startswith(("int", "uint"))}
    if whole != reference.margins.keys():
        yield f"margins of {_listed(reference.margins)} where the outputs {_listed(whole)} are whole numbers"
        return
    for name, margins in reference.margins.items():
        if margins.shape != reference.exact[name].shape or margins.dtype.kind != "f" or not (margins >= 0).all():
            yield f"margins of {foreign(name)} that are no positive numbers of shape {reference.exact[name].shape}"


def _odd(value: Array) -> bool:
    return not np.isfinite(value).all()


def _misfits(
    kind: str,
    found: Mapping[str, Array],
    expected: tuple[TensorSpec, ...],
    count: int,
    types: frozenset[str] | None = None,
    decided: frozenset[str] = frozenset(),
) -> Iterator[str]:
    """What is wrong with the tensors of one kind.

    Args:
        types: allowed of an input beside its own; None for outputs, which are kept as floats of any width.
        decided: outputs that are whole numbers.
    """
    names = {spec.name for spec in expected}
    if not names or found.keys() != names or len(names) < len(expected):
        yield f"the {kind}s {_listed(found)} where the manifest has {_listed(names)}"
        return
    for spec in expected:
        value = found[spec.name]
        shape = tuple(value.shape)
        if not shape or shape[0] != count or not value.size or not _fits(shape[1:], spec.shape[1:]):
            yield f"the {kind} {foreign(spec.name)} of shape {shape} for {count} images of {foreign(spec.shape[1:])}"
        elif types is None and value.dtype not in ((np.uint8,) if spec.name in decided else (np.float64, np.float32)):
            yield f"the {kind} {foreign(spec.name)} of {value.dtype}"
        elif types is not None and value.dtype.name not in types | {spec.dtype}:
            yield f"the {kind} {foreign(spec.name)} of {value.dtype} where the manifest has {foreign(spec.dtype)}"
        elif types is not None and _odd(value):
            yield f"numbers in the {kind} {foreign(spec.name)} that are not finite"


def _listed(names: Iterable[str]) -> str:
    return foreign(", ".join(sorted(names)) or "none")


def _fits(found: tuple[int, ...], expected: tuple[int | str, ...]) -> bool:
    """Whether a shape without its batch is the expected one, where a text is any size."""
    return len(found) == len(expected) and all(
        isinstance(size, str) or size == number for number, size in zip(found, expected, strict=True)
    )


def _too_large(reference: Reference, manifest: Manifest) -> Iterator[str]:
    batch = manifest.options.batch
    for spec in manifest.inputs:
        first = spec.shape[0] if spec.shape else None
        if batch is not None and isinstance(first, int) and first != batch:
            yield f"a batch of {first} in {foreign(spec.name)} where options.batch is {batch}"
        value = reference.feeds[spec.name]
        fed = (batch or 0) * math.prod(value.shape[1:]) * value.dtype.itemsize
        if batch is not None and batch > max(BATCH_SIZES) and fed > LARGEST_FEED:
            yield f"a batch of {batch} images, which takes {fed / 2**30:,.1f} GiB"
