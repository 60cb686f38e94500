"""What a file is that is no checkpoint, from its first bytes and, of an archive, from its members."""

import re
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from slide_export.core.text import foreign

from .text import listed

MAGIC: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "the pointer of a file in Git LFS, not the file: run `git lfs pull` where it was cloned",
    ),
    (b"<!doctype html", "a web page: download the file itself, not the page about it"),
    (b"<html", "a web page: download the file itself, not the page about it"),
    (b"<?xml", "an XML file, as OpenVINO writes its models: a PyTorch checkpoint is wanted"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it: a PyTorch checkpoint is wanted"),
    (b"GGUF", "a GGUF file of quantized weights: a PyTorch checkpoint is wanted"),
    (b"\x1f\x8b", "compressed by gzip: unpack it first"),
    (b"BZh", "compressed by bzip2: unpack it first"),
    (b"\xfd7zXZ", "compressed by xz: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "compressed by zstd: unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive: unpack it first"),
    (b"Rar!", "a RAR archive: unpack it first"),
    (b"\x93NUMPY", "a NumPy array: a PyTorch checkpoint is wanted"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
)
FLATBUFFERS = {  # from the fifth byte on
    b"TFL3": "a TFLite model, which is already exported",
    b"PTMF": "a TorchScript program for phones, which is already exported",
    b"ET12": "an ExecuTorch program, which is already exported",
}
ONNX = re.compile(rb"\x08[\x03-\x20]([\x12\x1a\x22\x2a\x32\x3a\x42])", re.DOTALL)  # ir_version, then another field
TEXT = re.compile(rb"[\t\r\n\x20-\x7e]+")
OLD_PICKLE = re.compile(
    rb"[(\[\]}NIFSVcldt0-9p]{1,3}[0-9]*\n|\(d|\(l|c[\w.]+\n[\w.]+\n"
)  # of protocol 0, which is text


def what_it_is(path: Path) -> str:
    """Say what a file is that is no checkpoint; "" where it may be one."""
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return "empty: it was not written, or not copied whole"
    known = start.lstrip().lower()
    if told := next((what for magic, what in MAGIC if known.startswith(magic.lower())), ""):
        return told
    if start[4:8] in FLATBUFFERS:
        return FLATBUFFERS[start[4:8]]
    if start.startswith(b"PK"):
        return _archive(path)
    return _tar(path) or _start(start)


def _start(start: bytes) -> str:
    """Say what begins like this and is no pickle: ONNX, cut safetensors, JSON, other text."""
    if ONNX.match(start):
        return "an ONNX model, which is already exported: give the checkpoint that it was made from"
    if start[8:10] == b'{"' and start[5:8] == bytes(3):
        return "a safetensors file that was cut off: copy or download it again"
    if not TEXT.fullmatch(start.removeprefix(b"\xef\xbb\xbf")) or OLD_PICKLE.match(start):
        return ""
    if known := start.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]:
        return "JSON, no weights: a PyTorch checkpoint is wanted" if known in b"{[" else "text, no checkpoint"
    return "text, no checkpoint"


def _archive(path: Path) -> str:
    """Say what a ZIP file is, unless it is torch.save's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ""  # torch says that it is damaged
    inner = {name.partition("/")[2] for name in names}
    if "constants.pkl" in inner or any(name.startswith("code/") for name in inner):
        return "a TorchScript program, not a checkpoint: export the state dict of the model that it was made from"
    if "archive_format" in inner or "models/model.json" in inner or "serialized_exported_program.json" in names:
        return "a program of torch.export, not a checkpoint: export the state dict of the model that it was made from"
    if "data.pkl" in inner:
        return ""
    if all(name.endswith(".npy") for name in names):
        return "NumPy arrays (npz): a PyTorch checkpoint is wanted"
    return f"a ZIP archive of {_members(names)}: unpack it, and export the checkpoint in it"


def _members(names: Sequence[str]) -> str:
    return listed([foreign(name) for name in names], most=3)


def _tar(path: Path) -> str:
    """Say that a file is a tar archive; torch.save's oldest format is one too, with a member `pickle`."""
    try:
        with tarfile.open(path, "r:") as archive:
            names = archive.getnames()
    except (tarfile.TarError, OSError, EOFError, ValueError, OverflowError):
        return ""
    if {"pickle", "storages"} <= set(names):
        return (
            "of PyTorch's oldest format (tar, before 2017), which is not read without running code: load it where it "
            "can be trusted (torch.load(path, weights_only=False)), and save its state dict with torch.save"
        )
    if not names:
        return ""
    return f"a tar archive of {_members(names)}: unpack it, and export the checkpoint in it"
