"""Pickles that no training writes, and a jail that would notice what they run.

The jail is an audit hook of the interpreter: while it watches, a file opened for writing, a process, a socket or a
library loaded is kept as a finding. A hook cannot be removed, so it is added once and watches on demand.
"""

from __future__ import annotations

import functools
import random
import struct
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WATCHED = (
    "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.remove",
    "os.rename", "os.rmdir", "os.mkdir", "os.chmod", "os.chown", "os.link", "os.symlink", "os.truncate", "os.putenv",
    "os.kill", "subprocess.Popen", "socket.connect", "socket.bind", "socket.getaddrinfo", "socket.__new__",
    "ctypes.dlopen", "shutil.rmtree", "shutil.copyfile", "shutil.move", "urllib.Request", "webbrowser.open",
    "tempfile.mkstemp", "tempfile.mkdtemp", "pty.spawn", "code.__new__", "compile", "exec", "marshal.loads",
)  # fmt: skip
WRITING = frozenset("wax+")
GADGETS = (
    "os.system", "posix.system", "nt.system", "subprocess.Popen", "subprocess.check_output", "builtins.eval",
    "builtins.exec", "builtins.open", "builtins.__import__", "builtins.getattr", "builtins.compile", "__builtin__.eval",
    "__builtin__.bytearray", "builtins.bytearray", "builtins.range", "builtins.print", "runpy.run_path", "pty.spawn",
    "importlib.import_module", "socket.create_connection", "shutil.rmtree", "torch.load", "torch.hub.load",
    "torch.Tensor",
    "torch.FloatTensor", "torch.storage.UntypedStorage", "torch.FloatStorage", "torch.Size", "torch.nn.Linear",
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_parameter", "torch._tensor._rebuild_from_type_v2",
    "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_qtensor", "torch._utils._rebuild_wrapper_subclass",
    "torch._utils._rebuild_meta_tensor_no_storage", "torch.device", "collections.OrderedDict", "collections.Counter",
    "collections.defaultdict", "argparse.Namespace", "functools.partial", "operator.attrgetter", "numpy.load",
    "numpy.core.multiarray._reconstruct", "_codecs.encode", "codecs.encode", "pathlib.PosixPath", "datetime.datetime",
    "omegaconf.dictconfig.DictConfig", "yacs.config.CfgNode", "mmengine.logging.history_buffer.HistoryBuffer",
    "ctypes.CDLL", "webbrowser.open", "copyreg._reconstructor", "types.FunctionType", "random.Random", "x\x1b[2J.y",
)  # fmt: skip


class Jail:
    """What happened while it watched."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self.watches = False

    def hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Keep an event that a reader has no business with."""
        if not self.watches:
            return
        if event == "open":
            mode = arguments[1]
            if isinstance(mode, str) and WRITING & set(mode):
                self.found.append(f"open {arguments[0]!r} {mode}")
        elif event in WATCHED and not (event in ("compile", "exec", "marshal.loads", "code.__new__") and _own()):
            self.found.append(f"{event} {str(arguments)[:80]}")


def _own() -> bool:
    """Whether a library of ours is imported or makes a class of its own, which runs code too."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if "importlib" in name or name.endswith(("collections/__init__.py", "dataclasses.py", "typing.py", "enum.py")):
            return True
        frame = frame.f_back  # type: ignore[assignment]  # None at the outermost one
    return False


@functools.cache
def jail() -> Jail:
    """The jail of this process."""
    made = Jail()
    sys.addaudithook(made.hook)
    return made


@contextmanager
def watched() -> Iterator[list[str]]:
    """Watch for as long as the block runs; what was found is in the list."""
    found = jail()
    found.found, found.watches = [], True
    try:
        yield found.found
    finally:
        found.watches = False


def pickle_of(chance: random.Random, marker: Path) -> bytes:
    """Assemble a pickle of protocol 2 from opcodes: calls of gadgets among honest values."""
    body = b"\x80" + chance.choice((b"\x02", b"\x02", b"\x02", b"\x03", b"\x04")) + b"}("
    for number in range(chance.randint(1, 4)):
        body += _text(f"k{number}") + _value(chance, marker, 3)
    return body + b"u."


def _value(chance: random.Random, marker: Path, depth: int) -> bytes:
    if depth and chance.random() < 0.7:
        return _call(chance, marker, depth - 1)
    plain = (
        b"N", b"\x88", b"K\x07", b"J\xff\xff\xff\x7f", b"G\x7f\xf0\x00\x00\x00\x00\x00\x00", b"]", b"}", b")",
        _text(f"touch {marker}"), _text(f"__import__('pathlib').Path({str(marker)!r}).touch()"), _text(str(marker)),
        _text("w"), _text("punycode"), _text("x" * 5000), b"\x8a\x08" + bytes(7) + b"\x40",
        b"K\x0aK\x80\x86", _storage(),
        b"\x8b" + struct.pack("<i", 3000) + b"\x7f" * 3000,
    )  # fmt: skip
    return chance.choice(plain)


def _call(chance: random.Random, marker: Path, depth: int) -> bytes:
    module, _, name = chance.choice(GADGETS).rpartition(".")
    found = b"c" + module.encode() + b"\n" + name.encode() + b"\n"
    arguments = b"(" + b"".join(_value(chance, marker, depth) for _ in range(chance.randint(0, 4))) + b"t"
    made = found + arguments + chance.choice((b"R", b"R", b"\x81"))
    end = chance.random()
    if end < 0.2:
        return made + _value(chance, marker, 0) + b"b"  # BUILD
    if end < 0.3:
        return made + _text("a") + _value(chance, marker, 0) + b"s"  # SETITEM
    if end < 0.35:
        return made + _value(chance, marker, 0) + b"a"  # APPEND
    if end < 0.4:
        return b"(" + found + arguments + b"o"  # OBJ, which torch does not know
    return made


def _storage() -> bytes:
    return b"(" + _text("storage") + b"ctorch\nFloatStorage\n" + _text("0") + _text("cpu") + b"K\x04tQ"


def _text(value: str) -> bytes:
    encoded = value.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def archive(path: Path, pickle: bytes, storages: dict[str, bytes] | None = None) -> None:
    """Write a pickle and its storages as torch.save's zip has them."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (("data.pkl", pickle), ("byteorder", b"little"), ("version", b"3\n")):
            file.writestr(f"archive/{name}", content)
        for key, content in ({"0": bytes(16)} if storages is None else storages).items():
            file.writestr(f"archive/data/{key}", content)
