"""Headers that the user names are found with their version, and a library that is none is refused."""

from pathlib import Path

import onnxruntime
import pytest

from slide_export.backends.onnx.own_operator import HEADER, call, native_runtime, register
from slide_export.core.errors import BackendUnavailable, BundleError
from slide_export.native import LIBRARY, library


def test_headers_tell_their_version(tmp_path: Path) -> None:
    (tmp_path / HEADER).write_text("// x\n#define ORT_API_VERSION 25\n#define OTHER 1\n")
    assert native_runtime({"headers": str(tmp_path)}).version == "#define ORT_API_VERSION 25"
    (tmp_path / HEADER).write_text("// none\n")
    assert native_runtime({"headers": str(tmp_path)}).version == ""


@pytest.mark.parametrize("named", [{}, {"headers": ""}, {"headers": "nowhere"}])
def test_headers_that_nobody_has_are_asked_for(named: dict[str, str], tmp_path: Path) -> None:
    told = {name: str(tmp_path / value) if value else value for name, value in named.items()}
    with pytest.raises(BackendUnavailable, match="headers=FOLDER"):
        native_runtime(told)


def test_a_library_that_onnx_runtime_cannot_load_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LIBRARY).write_bytes(b"no library")
    monkeypatch.setattr(library, "beside", lambda artifact: artifact.parent / LIBRARY)
    with pytest.raises(BundleError, match="expected a library of operators, ONNX Runtime cannot load"):
        register(onnxruntime.SessionOptions(), tmp_path / "model.onnx")
    assert call("a.so") == 'options.register_custom_ops_library("a.so")'
