"""What a file is that is no checkpoint, from its first bytes and, of an archive, from its members."""

import tarfile
import zipfile
from pathlib import Path

from .text import listed

MAGIC: tuple[tuple[bytes, str], ...] = (
    (
        b"version https://git-lfs",
        "the pointer of a file in Git LFS, not the file: run `git lfs pull` where it was cloned",
    ),
    (b"<!DOCTYPE html", "a web page: download the file itself, not the page about it"),
    (b"<!doctype html", "a web page: download the file itself, not the page about it"),
    (b"<html", "a web page: download the file itself, not the page about it"),
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
TFLITE = b"TFL3"  # from the fifth byte on


def what_it_is(path: Path) -> str:
    """Say what a file is that is no checkpoint; "" where it may be one."""
    with path.open("rb") as file:
        start = file.read(64)
    if told := next((what for magic, what in MAGIC if start.lstrip().startswith(magic)), ""):
        return told
    if start[4:8] == TFLITE:
        return "a TFLite model, which is already exported"
    if start.startswith(b"PK"):
        return _archive(path)
    return _tar(path)


def _archive(path: Path) -> str:
    """Say what a ZIP file is, unless it is torch.save's."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError):
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
    return f"a ZIP archive of {listed(names, most=3)}: unpack it, and export the checkpoint in it"


def _tar(path: Path) -> str:
    """Say that a file is a tar archive; torch.save's oldest format is one too, with a member `pickle`."""
    try:
        with tarfile.open(path, "r:") as archive:
            names = archive.getnames()
    except (tarfile.TarError, OSError, EOFError, ValueError):
        return ""
    if {"pickle", "storages"} <= set(names) or not names:
        return ""
    return f"a tar archive of {listed(names, most=3)}: unpack it, and export the checkpoint in it"
