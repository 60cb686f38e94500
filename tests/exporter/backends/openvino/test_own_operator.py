"""What the operator is linked with is found or said, and a library that is none is refused."""

from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

import openvino

from slide_export.backends.openvino.own_operator import LINKED, _first, call, native_runtime, register
from slide_export.core.errors import BackendUnavailable, BundleError
from slide_export.native import LIBRARY, library


def test_the_first_of_a_name_is_linked(tmp_path: Path) -> None:
    for version in ("2.0", "1.0"):
        (tmp_path / f"libtbb.so.{version}").touch()
    assert _first(tmp_path, "libtbb.so.*").name == "libtbb.so.1.0"
    with pytest.raises(BackendUnavailable, match=r"expected libopenvino\.so\.\* to link the operator"):
        _first(tmp_path, "libopenvino.so.*")


def test_the_wheel_has_headers_and_libraries() -> None:
    found = native_runtime({})
    assert len(found.libraries) == len(LINKED)
    assert found.version == openvino.__version__


def test_a_library_that_openvino_cannot_load_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LIBRARY).write_bytes(b"no library")
    monkeypatch.setattr(library, "beside", lambda artifact: artifact.parent / LIBRARY)
    with pytest.raises(BundleError, match="expected a library of operators, OpenVINO cannot load"):
        register(openvino.Core(), tmp_path / "model.xml")
    assert call("a.so") == 'core.add_extension("a.so")'
