"""The fingerprint of a file."""

import hashlib
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Returns the file's sha256 in hexadecimal, read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
