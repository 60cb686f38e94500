"""A hostile pickle that uses every allowed name does nothing; what honest files have beside the weights is skipped."""

import argparse
import collections
import datetime
import fractions
import functools
import pathlib
import struct
import sys
import types
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from slide_export.checkpoint.stand_ins import DICTIONARIES, INERT, LIBRARIES, LISTS, PlainDict, StandIn, is_allowed
from slide_export.checkpoint.tensor_files import read_torch
from slide_export.core.errors import CheckpointError

ALLOWED = sorted(DICTIONARIES | LISTS | INERT) + [f"{library}.anything.Class" for library in LIBRARIES]


def text(value: str) -> bytes:
    encoded = value.encode()
    return b"X" + struct.pack("<I", len(encoded)) + encoded  # BINUNICODE


def pickled(name: str, how: str, argument: str) -> bytes:
    """Assemble {"evil": NAME called on an argument, "weights": 1} from opcodes, as no honest pickler would."""
    module, _, attribute = name.rpartition(".")
    call = {
        "reduce": text(argument) + b"\x85R",  # TUPLE1, REDUCE: NAME(argument)
        "new": text(argument) + b"\x85\x81",  # TUPLE1, NEWOBJ: NAME.__new__(NAME, argument)
        "two": text("os") + text("system") + b"\x86R" + text(argument) + b"\x85R",  # NAME("os", "system")(argument)
        "state": b")R" + b"}" + text("__class__") + text(argument) + b"sb",  # NAME(), BUILD of {"__class__": argument}
    }[how]
    body = b"\x80\x02}" + text("evil") + b"c" + module.encode() + b"\n" + attribute.encode() + b"\n" + call + b"s"
    return body + text("weights") + b"K\x01s."


def archive(path: Path, pickle: bytes) -> Path:
    """Write a pickle into torch's zip format."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (("data.pkl", pickle), ("version", b"3\n"), ("byteorder", b"little")):
            file.writestr(f"archive/{name}", content)
    return path


@pytest.mark.parametrize("how", ["reduce", "new", "two", "state"])
def test_every_allowed_name_does_nothing(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker = tmp_path / "ran"
    command = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    imported: list[str] = []
    monkeypatch.setattr("importlib.import_module", lambda name, *_: imported.append(name))
    before = set(sys.modules)
    for name in ALLOWED:
        path = archive(tmp_path / "evil.pth", pickled(name, how, command))
        try:
            content = read_torch(path)
        except CheckpointError:
            continue  # refused: `two` calls what it made, and `state` fills a list
        assert content["weights"] == 1
        kind = type(content["evil"])
        inert = issubclass(kind, StandIn) or kind in (collections.OrderedDict, dict, list, collections.Counter)
        own = kind in (torch.Size, torch.device, bytearray, set, complex, bytes)  # torch's own list, plain values
        assert inert or own, f"{name} became a {kind}"
    assert not marker.exists()
    assert imported == []
    assert not {module for module in set(sys.modules) - before if module.partition(".")[0] in ("mmengine", "omegaconf")}


@pytest.mark.parametrize(
    "name",
    ["os.system", "posix.system", "subprocess.Popen", "builtins.eval", "builtins.exec", "builtins.__import__",
     "runpy.run_path", "pty.spawn", "importlib.import_module", "shutil.rmtree", "torch.load", "torch.hub.load",
     "operator.attrgetter", "pickle.loads", "numpy.load", "webbrowser.open", "socket.socket"],
)  # fmt: skip
def test_names_that_run_code_are_refused(name: str, tmp_path: Path) -> None:
    assert not is_allowed(name)
    path = archive(tmp_path / "evil.pth", pickled(name, "reduce", "id"))
    with pytest.raises(CheckpointError, match=r"asks to import .*could run code"):
        read_torch(path)


BESIDE: dict[str, Any] = {
    "scalar": np.float64(81.2),
    "array": np.arange(6).reshape(2, 3),
    "generator": np.random.RandomState(1).get_state(),
    "path": pathlib.PurePosixPath("/data/run"),
    "date": datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC),
    "fraction": fractions.Fraction(1, 3),
    "counter": collections.Counter("aab"),
    "default": collections.defaultdict(list, a=[1]),
    "queue": collections.deque([1, 2], maxlen=5),
    "partial": functools.partial(int, base=2),
    "arguments": argparse.Namespace(lr=0.1),
    "namespace": types.SimpleNamespace(lr=0.1),
    "dtype": torch.float16,
    "device": torch.device("cpu"),
    "size": torch.Size([1, 2]),
}


@pytest.mark.parametrize("name", BESIDE)
def test_what_training_codes_keep_beside_the_weights_is_skipped(name: str, tmp_path: Path) -> None:
    weights = {"head.weight": torch.arange(3.0)}
    torch.save({"state_dict": weights, "beside": BESIDE[name], "epoch": 3}, tmp_path / "run.pth")
    content = read_torch(tmp_path / "run.pth")
    assert torch.equal(content["state_dict"]["head.weight"], weights["head.weight"])
    assert content["epoch"] == 3


def foreign(module: str, name: str, base: type[Any], monkeypatch: pytest.MonkeyPatch) -> type[Any]:
    """Make a class as if its library were installed, for as long as a file is written."""
    made = type(name, (base,), {"__module__": module})
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        monkeypatch.setitem(sys.modules, ".".join(parts[:depth]), types.ModuleType(".".join(parts[:depth])))
    setattr(sys.modules[module], name, made)
    return made


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("module", "name", "base"),
    [
        ("mmengine.logging.history_buffer", "HistoryBuffer", object),
        ("omegaconf.dictconfig", "DictConfig", object),
        ("mmengine.config.config", "ConfigDict", dict),
        ("lightning.pytorch.utilities.other", "Unlisted", dict),
    ],
)
def test_objects_of_libraries_that_are_not_here_are_skipped(
    module: str, name: str, base: type[Any], zipped: bool, tmp_path: Path
) -> None:
    before = set(sys.modules)  # a target's own packages bring some of these libraries
    with pytest.MonkeyPatch.context() as monkeypatch:
        beside = foreign(module, name, base, monkeypatch)()
        if isinstance(beside, dict):
            beside["lr"] = 0.1
        else:
            beside.history = np.arange(3.0)
        content = {"state_dict": {"w": torch.ones(2)}, "log": beside}
        torch.save(content, tmp_path / "run.pth", _use_new_zipfile_serialization=zipped)
    found = read_torch(tmp_path / "run.pth")
    assert torch.equal(found["state_dict"]["w"], torch.ones(2))
    assert module not in set(sys.modules) - before  # nothing was imported to read it


def test_a_stand_in_is_made_of_what_the_file_gives() -> None:
    assert PlainDict({"a": 1}) == {"a": 1}
    assert is_allowed("omegaconf.dictconfig.DictConfig")
    assert not is_allowed("omegaconfig.DictConfig")
    assert not is_allowed("os.path.join")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_pickled_model_is_named(zipped: bool, tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "whole.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear, which is a whole pickled model"):
        read_torch(tmp_path / "whole.pth")
