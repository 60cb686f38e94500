"""MegEngine's checkpoint is read without running it; whatever else is in a pickle is refused by name."""

import io
import os
import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from types import FunctionType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from slide_export.checkpoint import numpy_pickle
from slide_export.checkpoint.load import load_checkpoint
from slide_export.checkpoint.numpy_pickle import PickleRefused
from slide_export.core.errors import CheckpointError, RequestError
from slide_export.models import nbnet
from tests.models.golden_recipe import case


def as_numpy_1(content: Any) -> bytes:
    """Pickle as NumPy 1 did, whose name for an array's maker MegEngine's files have."""
    buffer = io.BytesIO()
    Writer(buffer, protocol=4).dump(content)
    return buffer.getvalue()


class Writer(pickle._Pickler):  # the one in Python, whose names can be changed
    def save_global(self, obj: Any, name: str | None = None) -> None:
        if getattr(obj, "__module__", "") != "numpy._core.multiarray":
            super().save_global(obj, name)
            return
        self.save("numpy.core.multiarray")
        self.save(obj.__name__)
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch: ClassVar = {**pickle._Pickler.dispatch, FunctionType: save_global}


def arrays() -> dict[str, Any]:
    weights = OrderedDict(a=np.arange(6, dtype=np.float32).reshape(1, 6, 1, 1), b=np.asfortranarray(np.eye(2, 3)))
    return {"epoch": 3, "state_dict": weights}


@pytest.mark.parametrize("write", [as_numpy_1, lambda content: pickle.dumps(content, protocol=4)], ids=["1", "2"])
def test_arrays_come_back_as_tensors(write: Callable[[Any], bytes]) -> None:
    found = numpy_pickle.read(write(arrays()))
    assert found["epoch"] == 3
    assert list(found["state_dict"]) == ["a", "b"]
    for key, value in arrays()["state_dict"].items():
        assert torch.equal(found["state_dict"][key], torch.from_numpy(np.ascontiguousarray(value)))


def test_a_file_of_numpy_1_names_numpy_1() -> None:
    assert b"numpy.core.multiarray" in as_numpy_1(arrays())
    assert b"numpy._core" not in as_numpy_1(arrays())


def test_megengines_file_of_the_golden_model_is_its_state_dict() -> None:
    golden = case("nbnet")
    theirs = OrderedDict(
        (key, value.numpy().reshape(1, -1, 1, 1) if key.endswith(".bias") else value.numpy())
        for key, value in golden.state.items()
    )
    content = numpy_pickle.read(as_numpy_1({"epoch": 1, "state_dict": theirs}))
    state = nbnet.from_megengine(content["state_dict"])
    assert state.keys() == golden.state.keys()
    assert all(torch.equal(state[key], value) for key, value in golden.state.items())
    assert nbnet.infer(state).depth == 5


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_nothing_in_the_file_runs(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps({"state_dict": Harmful()}, protocol=4)
    pickle.loads(content)
    assert (tmp_path / "harm").exists()  # by the usual reader
    (tmp_path / "harm").rmdir()
    with pytest.raises(PickleRefused, match=r"posix\.mkdir, which could run code"):
        numpy_pickle.read(content)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"a": np.array(["text"])}, "numbers of f2"),
        ({"a": np.array([object()], dtype=object)}, "the opcode NEWOBJ"),
        ({"a": np.arange(3, dtype=">f4")}, "little-endian"),
        ({"a": {1, 2}}, "the opcode EMPTY_SET"),
        ([1, 2], "found a list"),
        ({"a": np.float32(1)}, "import numpy"),
    ],
)
def test_what_is_no_plain_array_is_refused(content: Any, found: str) -> None:
    with pytest.raises(PickleRefused, match=found):
        numpy_pickle.read(pickle.dumps(content, protocol=4))


@pytest.mark.parametrize("cut", [0, 1, 40, -1])
def test_a_damaged_file_is_refused(cut: int) -> None:
    content = pickle.dumps(arrays(), protocol=4)
    with pytest.raises(PickleRefused):
        numpy_pickle.read(content[:cut])


def nested_tuples() -> bytes:
    """Forty tuples, each of which holds the last one twice: hashing the outermost takes 2^40 steps."""
    twice = pickle.BINGET + b"\0" + pickle.BINGET + b"\0" + pickle.TUPLE2 + pickle.BINPUT + b"\0"
    key = pickle.EMPTY_TUPLE + pickle.BINPUT + b"\0" + twice * 40
    return pickle.PROTO + b"\4" + pickle.EMPTY_DICT + key + pickle.NONE + pickle.SETITEM + pickle.STOP


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (nested_tuples(), "a tuple that is used twice"),
        (
            pickle.PROTO + b"\4" + pickle.NONE + pickle.LONG_BINPUT + b"\xff" * 4 + pickle.STOP,
            "remembered as 4294967295",
        ),
        (pickle.PROTO + b"\4" + pickle.BYTEARRAY8 + b"\0" * 7 + b"\0" + pickle.STOP, "the opcode BYTEARRAY8"),
    ],
)
def test_a_program_that_no_array_needs_is_refused_before_it_is_read(content: bytes, found: str) -> None:
    with pytest.raises(PickleRefused, match=found):
        numpy_pickle.read(content)


def test_dictionaries_without_end_are_refused() -> None:
    content: dict[str, Any] = {}
    for _ in range(20):
        content = {"a": content, "b": content}
    with pytest.raises(PickleRefused, match="found a dict"):
        numpy_pickle.read(pickle.dumps(content, protocol=4))


def test_an_array_that_stands_twice_is_one_tensor() -> None:
    value = np.zeros(3, np.float32)
    found = numpy_pickle.read(pickle.dumps({"a": value, "b": value}, protocol=4))
    assert found["a"] is found["b"]


def test_a_shape_that_its_bytes_do_not_fill_is_refused() -> None:
    content = pickle.dumps({"a": np.zeros((3, 5), np.float32)}, protocol=4)
    altered = content.replace(
        pickle.BININT1 + b"\x03" + pickle.BININT1 + b"\x05", pickle.BININT1 + b"\xff" + pickle.BININT1 + b"\xff"
    )
    assert altered != content
    with pytest.raises(PickleRefused, match="found 60 bytes"):
        numpy_pickle.read(altered)


def megengine(folder: Path) -> Path:
    """The golden NBNet as MegEngine's own training code saves it."""
    theirs = OrderedDict(
        (key, value.numpy().reshape(1, -1, 1, 1) if key.endswith(".bias") else value.numpy())
        for key, value in case("nbnet_d3").state.items()
    )
    path = folder / "nbnet.pkl"
    path.write_bytes(as_numpy_1({"epoch": 1, "state_dict": theirs}))
    return path


def test_megengines_file_is_a_checkpoint(tmp_path: Path) -> None:
    model = load_checkpoint(megengine(tmp_path))
    assert (model.family, model.task, model.image_size) == ("nbnet", "restore", (256, 256))
    assert (model.provenance.container, model.provenance.wrapper) == ("NumPy pickle file", "state_dict")
    state = model.module.state_dict()
    assert all(torch.equal(state[key], value) for key, value in case("nbnet_d3").state.items())
    assert any("a tile gives another result" in note for note in model.provenance.notes)
    assert "assumed slope=0.2" in " ".join(model.provenance.assumed)


def test_sides_that_do_not_halve_are_refused(tmp_path: Path) -> None:
    path = megengine(tmp_path)
    assert load_checkpoint(path, input_size=(100, 96)).image_size == (100, 96)
    with pytest.raises(RequestError, match="an image of 102x96, where sides are multiples of 4"):
        load_checkpoint(path, input_size=(102, 96))


def test_a_harmful_file_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "nbnet.pkl").write_bytes(pickle.dumps({"a": np.zeros(2, np.float32), "b": Harmful()}, protocol=4))
    with pytest.raises(CheckpointError, match=r"posix\.mkdir, which could run code.*nbnet\.pkl"):
        load_checkpoint(tmp_path / "nbnet.pkl")


def test_torchs_own_files_are_none(tmp_path: Path) -> None:
    state = {"_reconstruct": torch.zeros(2)}
    for zipped in (True, False):
        torch.save(state, tmp_path / "model.pth", _use_new_zipfile_serialization=zipped)
        assert not numpy_pickle.is_numpy_pickle(tmp_path / "model.pth")
