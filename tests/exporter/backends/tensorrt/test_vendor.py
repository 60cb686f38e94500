from pathlib import Path

import pytest

from slide_export.backends.tensorrt import vendor
from slide_export.core.errors import BackendUnavailable
from tests.exporter.backends.tensorrt.conftest import graph, lower


def test_a_message_loses_its_call_sites() -> None:
    message = (
        "Invalid Node - n\nITensor::getDimensions: Error Code 4: API Usage Error (n: first input has type UInt8. "
        "In checkType at /_src/optimizer/nodeBase.cpp:456)\n[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda"
    )
    assert vendor.sentence(message) == "API Usage Error (n: first input has type UInt8)"


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vendor, "installed", lambda _: None)
    with pytest.raises(BackendUnavailable, match="pip install tensorrt_rtx_cu13"):
        lower(graph(), tmp_path, flavor="auto")


def test_where_both_are_installed_auto_is_the_first_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vendor, "installed", lambda flavor: flavor)
    assert vendor.choose("auto") == "tensorrt"
    assert vendor.DISTRIBUTIONS[0] in vendor.FLAVORS["tensorrt"]
    assert vendor.choose("rtx") == "rtx"
