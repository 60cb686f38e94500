"""Maps of class numbers as files have them: gray or palette pictures, a number for each pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from slide_export.core.errors import CalibrationError

NUMBERED = ("L", "P", "1", "I", "I;16", "I;16B")  # Pillow's modes of one whole number a pixel


def decode_label_map(file: Path) -> Image.Image:
    """Class numbers of a file as they are written, a palette's indices too, as Pillow's mode I.

    Raises:
        CalibrationError: it cannot be decoded, or has colours and no numbers.
    """
    try:
        with Image.open(file) as picture:
            if picture.mode not in NUMBERED:
                raise CalibrationError(
                    f"expected a map of class numbers (a gray or palette picture), found Pillow's mode {picture.mode} "
                    f"in {file}: write the number of each pixel's class"
                )
            return Image.fromarray(np.asarray(picture).astype(np.int32))
    except CalibrationError:
        raise
    except Exception as error:  # a decoder is somebody else's code, and what it raises on damage has no bounds
        raise CalibrationError(
            f"expected a map of class numbers that can be decoded, {file} cannot: {error}"
        ) from error
