"""Class names and CSV lists, as editors and spreadsheets write them and with faults: the truth, or one line."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

from PIL import Image

from slide_export.calibration.class_names import read_names
from slide_export.calibration.evaluation_set import load
from slide_export.calibration.images import find
from slide_export.core.errors import SlideExportError

from .images import damaged
from .outcome import Outcome

NAME, CASES = "labels", 10_000
CLASSES = ("cat", "Hund, groß", "数字", "emu\u2028x")
FILES = tuple(f"{number}.png" for number in range(6))
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
OTHERS = ("latin-1", "utf-32", "utf-16-le", "cp1252")
ENDS = ("\n", "\r\n", "\r")
HEADINGS = (("file", "label"), ("filename", "class"), ("Path", "Target"), ("image_path", "class_name"))
CELLS = (
    *("", " ", "9" * 5000, "²", "-1", "4", "99", "1.0", "nan", "\x1b[2J", "\0", '"', '"open', "a" * 5000, "../1.png"),
    *("/etc/passwd", "1.png\n2.png", "dog", "emu", "x" * 300 + ".png", "\ud800.png", "=1+1", ".", "..", "1.png", "cat"),
)


def run(seed: int, index: int, room: Path) -> Outcome:
    """One file of class names, or one list."""
    chance = random.Random(f"{seed}:{index}")
    return _names(chance, room) if index % 2 else _list(chance, room)


def _judged(error: SlideExportError, *, sound: bool) -> Outcome:
    said = str(error)
    if sound:
        return Outcome("silent", f"a sound file is refused: {said[:300]}")
    clear = said.isprintable() and len(said) < 2000
    return Outcome("refused") if clear else Outcome("message", f"{said[:300]!r}")


def _names(chance: random.Random, room: Path) -> Outcome:
    end, blank = chance.choice(ENDS), chance.choice(("", " ", "\t"))
    text = end.join((*(blank + name + blank for name in CLASSES), *("",) * chance.randrange(3)))
    sound = chance.random() < 0.5
    content = text.encode(chance.choice(ENCODINGS))
    if not sound:
        content = chance.choice(
            (damaged(content, chance), text.encode(chance.choice(OTHERS), "replace"), b"", chance.randbytes(200))
        )
    path = room / "labels.txt"
    path.write_bytes(content)
    try:
        names = read_names(path)
    except SlideExportError as error:
        return _judged(error, sound=sound)
    if sound and names != CLASSES:
        return Outcome("silent", f"{names}")
    if any(not name or "\ufeff" in name[:1] or min(name) < " " for name in names):
        return Outcome("silent", f"names that are none: {names!r:.200}")
    return Outcome("fine")


def _list(chance: random.Random, room: Path) -> Outcome:
    for name in FILES:
        Image.new("RGB", (2, 2)).save(room / name)
    truth = {name: chance.randrange(len(CLASSES)) for name in FILES}
    rows = [[name, chance.choice((CLASSES[label], str(label)))] for name, label in truth.items()]
    kind = chance.choice(("sound", "sound", "twice", "contradicted", "cell", "cell", "bytes", "row"))
    if kind == "twice":
        rows.append(list(chance.choice(rows)))
    elif kind == "contradicted":
        name, label = chance.choice(list(truth.items()))
        rows.append([name, str((label + 1) % len(CLASSES))])
    elif kind == "cell":
        rows[chance.randrange(len(rows))][chance.randrange(2)] = chance.choice(CELLS)
    elif kind == "row":
        rows.insert(chance.randrange(len(rows)), [chance.choice(CELLS) for _ in range(chance.randrange(5))])
    if chance.random() < 0.5:
        rows.insert(0, list(chance.choice(HEADINGS)))
    path = room / "list.csv"
    path.write_bytes(_encoded(rows, chance, damage=kind == "bytes"))
    return _read(path, truth, kind)


def _encoded(rows: list[list[str]], chance: random.Random, *, damage: bool) -> bytes:
    text = io.StringIO(newline="")
    quoting = chance.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    csv.writer(text, lineterminator=chance.choice(ENDS), quoting=quoting).writerows(rows)
    content = text.getvalue().encode(chance.choice(ENCODINGS), "surrogatepass")
    return damaged(content, chance) if damage else content


def _read(path: Path, truth: dict[str, int], kind: str) -> Outcome:
    try:
        found = load(path, CLASSES, len(CLASSES))
        find(path)
    except SlideExportError as error:
        return _judged(error, sound=kind in ("sound", "twice"))
    assert found.classes is not None
    told = dict(zip(found.images.names(), found.classes.tolist(), strict=True))
    if len(told) != len(found.images.files):
        return Outcome("silent", f"{kind}: a file counts twice: {found.images.names()}")
    if kind == "contradicted":
        return Outcome("silent", "two classes of one file")
    if kind in ("sound", "twice") and told != truth:
        return Outcome("silent", f"{kind}: {told} for {truth}")
    found.digest()
    return Outcome("fine")
