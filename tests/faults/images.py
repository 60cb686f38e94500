"""Pictures with one fault each, alone, in a folder, a zip or an npz: decoded and cropped, or refused in one line."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from PIL import Image

from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import decode, find
from slide_export.core.errors import SlideExportError
from slide_export.models import DataConfig

from .outcome import Outcome

NAME, CASES = "images", 20_000
SIZE = (32, 32)
MODES = ("RGB", "L", "RGBA", "P", "1", "LA", "CMYK", "I;16")
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
NAMES = ("1.png", "x/2.jpg", "\x1b[2J.png", "../3.png", "/4.gif", "ü/5.webp", "a" * 300 + ".png", ".hidden/6.png")
HEADERS: tuple[tuple[str, object], ...] = (
    ("shape", (10**9, 32, 32, 3)),
    ("shape", (2, 0, 32, 3)),
    ("shape", (0, 32, 32, 3)),
    ("shape", (2, 2**40, 32, 3)),
    ("shape", (-2, 32, 32, 3)),
    ("shape", (2, 32, 32)),
    ("descr", "|O"),
    ("descr", "<f8"),
    ("fortran_order", True),
)


def run(seed: int, index: int, room: Path) -> Outcome:
    """One set of pictures with a fault.

    Each kind gives the place of the pictures and the pixels that they have: None where nobody knows whether they have
    any, empty where they have some.
    """
    chance = random.Random(f"{seed}:{index}")
    kind = chance.choice((_picture, _picture, _picture, _picture, _exif, _zipped, _zipped, _array, _bomb))
    place, sound = kind(chance, room)
    store = PictureStore(DataConfig(), SIZE)
    try:
        for file in find(place).files[:4]:
            (picture,) = store.load(file)
            if picture.shape != (*SIZE, 3) or picture.dtype != np.uint8:
                return Outcome("silent", f"{kind.__name__}: {picture.shape}")
            if sound and decode(file).tobytes() != sound:
                return Outcome("silent", f"{kind.__name__}: other pixels than Pillow's")
    except SlideExportError as error:
        said = str(error)
        if sound is not None:
            return Outcome("silent", f"{kind.__name__}: a sound picture is refused: {said[:300]}")
        clear = said.isprintable() and len(said) < 2000
        return Outcome("refused") if clear else Outcome("message", f"{kind.__name__}: {said[:300]!r}")
    return Outcome("fine")


def _drawn(chance: random.Random, form: str) -> tuple[bytes, Image.Image]:
    mode = "RGB" if form in ("JPEG", "WEBP", "PPM") else chance.choice(MODES if form == "TIFF" else MODES[:5])
    rows, cols = chance.choice(((24, 40), (1, 1), (33, 7), (300, 2), (48, 48)))
    pixels = np.random.default_rng(chance.randrange(2**32)).integers(0, 256, (rows, cols, 3), np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(pixels).convert(mode)
    content = io.BytesIO()
    picture.save(content, form)
    return content.getvalue(), picture


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Bytes with one region changed."""
    data, at = bytearray(content), chance.randrange(len(content))
    match chance.choice(("flip", "flip", "flip", "cut", "number", "double", "zeros", "noise")):
        case "flip":
            data[at] ^= 1 << chance.randrange(8)
        case "cut":
            del data[at:]
        case "number":  # lengths, sizes and offsets stand in four bytes, of either order
            value = chance.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**24, 70_000, chance.randrange(2**32)))
            data[at : at + 4] = struct.pack(chance.choice("<>") + "I", value)
        case "double":
            data[at:at] = data[at : at + 64]
        case "zeros":
            data[at : at + 64] = bytes(len(data[at : at + 64]))
        case _:
            data[at : at + 16] = chance.randbytes(16)
    return bytes(data)


def _picture(chance: random.Random, room: Path) -> tuple[Path, bytes | None]:
    form = chance.choice(FORMATS)
    content, _ = _drawn(chance, form)
    sound = chance.random() < 0.1
    (room / f"1.{form.lower()}").write_bytes(content if sound else damaged(content, chance))
    if not sound:
        return room, None
    with Image.open(io.BytesIO(content)) as again:
        deep = again.mode.startswith("I;16")
        upright = Image.fromarray((np.asarray(again) / 257).round().astype(np.uint8)) if deep else again
        return room, upright.convert("RGB").tobytes()


def _exif(chance: random.Random, room: Path) -> tuple[Path, bytes | None]:
    """Metadata that cameras wrote and Pillow cannot write: the picture is sound, and taken."""
    order, picture = chance.choice("<>"), Image.new("RGB", (16, 16), (90, 120, 30))
    entries = []
    for _ in range(chance.randrange(1, 6)):
        tag = chance.choice((0x0112, 0x011A, 0x0100, 0x0103, 0x8769, 0x010F, chance.randrange(2**16)))
        kind, count = chance.choice((1, 2, 3, 4, 5, 7, 9, 10, 12, 13, 99)), chance.choice((0, 1, 2, 4, 2**31))
        entries.append(struct.pack(f"{order}HHI4s", tag, kind, count, chance.randbytes(4)))
    block = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    exif = b"Exif\0\0" + block + b"".join(entries) + bytes(4) + chance.randbytes(chance.choice((0, 4, 32)))
    form = chance.choice(("JPEG", "WEBP", "PNG"))
    picture.save(room / f"1.{form.lower()}", form, exif=exif)
    return room, b""


def _zipped(chance: random.Random, room: Path) -> tuple[Path, bytes | None]:
    place, method = room / "set.zip", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(place, "w", method) as archive:
        for name in chance.sample(NAMES, 3):
            archive.writestr(name, _drawn(chance, "PNG")[0])
    place.write_bytes(damaged(place.read_bytes(), chance))
    return place, None


def _array(chance: random.Random, room: Path) -> tuple[Path, bytes | None]:
    place, content = room / "set.npz", io.BytesIO()
    if chance.random() < 0.5:
        header: dict[str, object] = {"descr": "|u1", "fortran_order": False, "shape": (2, 32, 32, 3)}
        name, value = chance.choice(HEADERS)
        npy.write_array_header_1_0(content, {**header, name: value})  # type: ignore[no-untyped-call]
        content.write(bytes(2 * 32 * 32 * 3))
        data = content.getvalue()
    else:
        np.save(content, np.zeros((2, 32, 32, 3), np.uint8))
        data = damaged(content.getvalue()[:160], chance) + content.getvalue()[160:]
    with zipfile.ZipFile(place, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", data)
    return place, None


def _png(rows: int, cols: int, body: bytes) -> bytes:
    """A gray PNG of one bit a pixel whose pixels are a short stream."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", cols, rows, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _bomb(chance: random.Random, room: Path) -> tuple[Path, bytes | None]:
    """A kilobyte that would be gigabytes."""
    bombs: tuple[Callable[[], Path], ...] = (
        lambda: _written(room / "1.png", _png(13_000, 13_000, zlib.compress(bytes(1000)))),
        lambda: _written(room / "1.png", _png(2**31 - 1, 2**31 - 1, b"")),
        lambda: _written(room / "1.png", _png(1, 60_000, zlib.compress(bytes(7501)))),
        lambda: _zip_that_says(room / "set.zip", 7 << 30),
        lambda: _zip_that_says(room / "set.zip", 1 << 20),
    )
    place = chance.choice(bombs)()
    return (place if place.suffix == ".zip" else room), None


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _zip_that_says(path: Path, size: int) -> Path:
    """A zip of a megabyte of zeros whose directory says that it unpacks to another size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.png", bytes(1 << 20))
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = struct.pack("<I", min(size, 2**32 - 2))
    return _written(path, bytes(content))
