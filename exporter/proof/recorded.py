"""Answers of the trained model in a file: computed once a checkpoint and part of an evaluation set, read by all.

    SHA256/NAME    output NAME, [B, ...], of the chunk of pictures with that sha256

They are found by the pictures themselves, so that other pixels (another decoder, a picture that was replaced) are never
taken for those that were answered: what is not found is computed. Maps are not recorded: those of a set are larger than
the pictures, and computing them again is no slower than reading them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, MutableMapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import BrokenFiles
from slide_export.calibration.parts import FileRange, Scores, chunk_of, chunks
from slide_export.core.artifact import Outputs
from slide_export.core.errors import BundleError
from slide_export.inference.served import ServedModel

from .accuracy import of_pytorch


def remembered(compute: Scores, known: MutableMapping[str, Outputs]) -> Scores:
    """Scores that are computed once for each chunk of pictures; `known` is read and added to."""

    def scores(pictures: Sequence[NDArray[np.uint8]]) -> Outputs:
        """Outputs by name of decoded pictures."""
        # By pixels, for a path or a name may come to hold another picture.
        key = hashlib.sha256(b"".join(part.tobytes() for part in pictures)).hexdigest()
        if key in known:
            return known[key]
        found = compute(pictures)
        if all(values.ndim == 2 for values in found.values()):  # no maps, see above
            known[key] = found
        return found

    return scores


def record(served: ServedModel, data: EvaluationSet, store: PictureStore, part: FileRange, path: Path) -> None:
    """Write what the trained model answers to a part of a set; of the same bytes whenever it answers the same."""
    # Pictures that cannot be decoded are skipped here and counted by who measures, so that both see the same chunks.
    known: dict[str, Outputs] = {}
    scores, broken = remembered(of_pytorch(served), known), BrokenFiles(data.images, later=True)
    for _, pictures, _ in chunks(data, store, chunk_of(served.task.measure), broken, part):
        if any(values.ndim != 2 for values in scores(pictures).values()):  # maps, and so in every chunk
            break
    write(known, path)


def write(known: Mapping[str, Outputs], path: Path) -> None:
    """Write answers by the sha256 of their pictures."""
    arrays = {f"{key}/{name}": value for key, outputs in sorted(known.items()) for name, value in outputs.items()}
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are not savez's options


def read(path: Path) -> dict[str, Outputs]:
    """The answers that `write` wrote.

    Raises:
        BundleError: the file is another, or was altered.
    """
    known: dict[str, dict[str, NDArray[np.generic]]] = {}
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for name in arrays.files:
                key, _, output = name.partition("/")
                known.setdefault(key, {})[output] = arrays[name]
    except (OSError, ValueError, EOFError, TypeError, BadZipFile) as error:
        raise BundleError(
            f"expected recorded answers in {path}, it cannot be read: {error}: record them again"
        ) from error
    return dict(known)
