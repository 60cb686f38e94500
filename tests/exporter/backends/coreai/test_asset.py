"""A folder is a whole asset or refused before the runtime sees it, and types of tensors are read or refused."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from slide_export.backends.coreai.asset import HASH, METADATA, PROGRAM, _constants, _tensor, check
from slide_export.backends.coreai.vendor import Operation
from slide_export.core.errors import BundleError


def asset(folder: Path, name: str = "model.aimodel") -> Path:
    path = folder / name
    path.mkdir()
    (path / PROGRAM).write_bytes(b"program")
    (path / HASH).write_bytes(hashlib.sha256(b"program").digest())
    (path / METADATA).write_text("{}")
    return path


def test_a_whole_asset_is_taken(tmp_path: Path) -> None:
    check(asset(tmp_path))


@pytest.mark.parametrize("name", [PROGRAM, HASH, METADATA])
def test_a_file_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    path = asset(tmp_path)
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"found model.aimodel without {name}"):
        check(path)


def test_another_ending_or_another_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="of another ending"):
        check(asset(tmp_path, "model.bundle"))
    path = asset(tmp_path)
    (path / PROGRAM).write_bytes(b"Program")
    with pytest.raises(BundleError, match=r"expected main\.mlirb to be what main\.hash says of it"):
        check(path)


@pytest.mark.parametrize(
    ("text", "shape", "kind"),
    [
        ("tensor<f32>", (), "float32"),
        ("tensor<?x10xf16>", (0, 10), "float16"),
        ("tensor<2x3xsi32>", (2, 3), "int32"),
        ("tensor<4xui8>", (4,), "uint8"),
        ("tensor<1xi1>", (1,), "bool"),
    ],
)
def test_types_of_tensors(text: str, shape: tuple[int, ...], kind: str) -> None:
    assert _tensor(text) == (shape, kind)


@pytest.mark.parametrize("text", ["tensor<2xbf16>", "tensor<2xi4>", "tensor<*xf32>", "f32", "tensor<2xf32> "])
def test_a_type_that_is_never_written_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a tensor of it is"):
        _tensor(text)


def test_constants_are_given_once_wherever_their_values_stand() -> None:
    apart = {"far": memoryview(np.array([1, 2], np.float32).tobytes())}
    given = [
        Operation("coreai.constant", (), ("tensor<2xf32>",), "dense_resource<far> : tensor<2xf32>"),
        Operation("coreai.constant", (), ("tensor<2xf32>",), np.array([1, 2], np.float32)),  # the same values
        Operation("coreai.constant", (), ("tensor<3xf32>",), np.float32(5)),  # repeated
        Operation("coreai.constant", (), ("tensor<2xsi32>",), np.array([1, 2], np.int32)),
        Operation("coreai.gelu", ("tensor<2xf32>",), ("tensor<2xf32>",)),
    ]
    found = list(_constants(given, apart))
    assert [one.values.tolist() for one in found] == [[1, 2], [5, 5, 5], [1, 2]]
    assert [one.kind for one in found] == ["float32", "float32", "int32"]
    assert len({one.name for one in found}) == 3
