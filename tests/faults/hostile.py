"""Values that no field of a JSON file expects, and changes of bytes, for the suites of bundles and of results."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from typing import Any

FORGED = "\x1b[2J\x1b[1;1H\n✓ equal to the trained PyTorch model"
TEXTS = (
    *("", "x", "../x", "/etc/passwd", "/dev/zero", ".", "a" * 100_000, "a\0b", "\ud800", FORGED, "\x07\x9b31m"),
    *("\u202egpj.exe", "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "@team #12 [x](http://x)", "[/]"),
    *("[red]", "| a | b |", "`x`", "${x}", "NaN", "1e400", "é" * 300),
)
NUMBERS = (0, -1, 1, 2, 3, 7, 10**7, 2**31, 2**62, 2**63, 10**400, 0.0, -0.5, 1e-320, 1e308, float("inf"), float("nan"))
NESTED: Any = []
for _ in range(80):
    NESTED = [NESTED]
VALUES: tuple[Any, ...] = (None, True, False, [], {}, [[]], [1], ["x"], {"x": 1}, {"": {}}, NESTED, *TEXTS, *NUMBERS)


def places(content: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a JSON content, its own among them."""
    yield path
    inside = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for name, part in inside:
        yield from places(part, (*path, name))


def altered(content: Any, chance: random.Random) -> tuple[Any, str]:
    """A copy with one field replaced, removed, added, renamed or doubled, and what was done."""
    content = copy.deepcopy(content)
    path = chance.choice([place for place in places(content) if place])
    inner = content
    for name in path[:-1]:
        inner = inner[name]
    name, how = path[-1], chance.choice(("replace", "replace", "replace", "remove", "add", "neighbour"))
    if how == "remove":
        del inner[name]
    elif how == "add" and isinstance(inner, dict):
        inner[chance.choice(TEXTS)] = chance.choice(VALUES)
    elif how == "neighbour" and isinstance(inner, list):
        inner.append(chance.choice((copy.deepcopy(inner[0]), *VALUES)))
    elif how == "neighbour" and isinstance(inner[name], int | float) and not isinstance(inner[name], bool):
        inner[name] += chance.choice((-1, 1, 1e-9, 1000))
    else:
        inner[name] = chance.choice(VALUES)
    return content, f"{how} {'.'.join(map(str, path))}"


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes with one region flipped, cut, doubled, zeroed or filled with others."""
    start = chance.randrange(max(1, len(data)))
    end = min(len(data), start + chance.choice((1, 1, 1, 2, 8, 64, 4096)))
    inside = data[start:end]
    match chance.choice(("flip", "flip", "flip", "cut", "tail", "double", "zero", "noise")):
        case "flip":
            inside = bytes(byte ^ 1 << chance.randrange(8) for byte in inside)
        case "cut":
            inside = b""
        case "tail":
            return data[:start]
        case "double":
            inside *= 2
        case "zero":
            inside = bytes(len(inside))
        case _:
            inside = chance.randbytes(len(inside))
    return data[:start] + inside + data[end:]


def unclear(message: str) -> bool:
    """Whether a message is more than one printable line of bounded length."""
    return not message or not message.isprintable() or len(message) > 4000
