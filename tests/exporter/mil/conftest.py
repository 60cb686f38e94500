"""Small ML Programs, built with coremltools, saved to disk and read back by the evaluator."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from slide_export.mil import Package, vendor

Save = Callable[..., Package]


@pytest.fixture(scope="session", autouse=True)
def _coremltools() -> None:
    """Import it as the package does, whichever test comes first: alone it warns, and warnings are errors."""
    vendor.prepare()


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Converts a MIL program or a traced module, saves it and returns the package read back from disk."""

    def convert(source: Any, precision: str = "fp32", **options: Any) -> Package:
        with warnings.catch_warnings():
            # coremltools 9.0 warns about numpy and torch idioms of its own; what it saves is what is tested here.
            warnings.simplefilter("ignore")
            import coremltools as ct

            chosen = ct.precision.FLOAT16 if precision == "fp16" else ct.precision.FLOAT32
            options.setdefault("minimum_deployment_target", ct.target.iOS17)
            model = ct.convert(
                source, convert_to="mlprogram", compute_precision=chosen, skip_model_load=True, **options
            )
            path = tmp_path / "model.mlpackage"
            model.save(str(path))
        return Package.read(path)

    return convert
