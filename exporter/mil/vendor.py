"""coremltools, imported without what it does not need here."""

import sys


def prepare() -> None:
    """Import coremltools as if ExecuTorch were not installed.

    It looks for ExecuTorch and imports all of it, to take its programs too, which this package never hands over. That
    takes half as long again as coremltools itself.
    """
    if "coremltools" in sys.modules or "executorch" in sys.modules:
        return
    sys.modules["executorch"] = None  # type: ignore[assignment]  # what the import system takes for "not there"
    try:
        import coremltools  # noqa: F401
    finally:
        del sys.modules["executorch"]
