"""Are these images fit for calibration?"""

import hashlib

from slide_export.models import DataConfig
from slide_export.types import CalibrationReport

from .spool import Spool


def audit(source: str, pictures: Spool, data: DataConfig, accept: tuple[str, ...]) -> CalibrationReport:
    """Returns what was found."""
    digest = hashlib.sha256()
    for picture in pictures:
        digest.update(picture.tobytes())
    return CalibrationReport(source, len(pictures), digest.hexdigest(), ())
