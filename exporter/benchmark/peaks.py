"""What this processor reaches at best: multiply-adds a second in each type, bytes a second read. A program of its own.

    python -m slide_export.benchmark.peaks '{"threads": 2, "affinity": [0, 1], "kinds": ["float32", "bfloat16"]}'

prints `Peaks` as JSON. The products are PyTorch's (MKL and oneDNN, as the runtimes use them) of square matrices; the
best call counts, for a bound is what nothing was seen to beat: disturbed calls are left out.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slide_export.core.measurement import Peaks

if TYPE_CHECKING:
    from torch import Tensor

SIDES = (512, 1024, 2048)
BUFFERS_MIB = (4, 32, 256)
"""Read again and again: a bundle's weights are read at each call, from whichever cache holds as many bytes."""
BLOCK_MIB = 4
SECONDS, LEAST_CALLS = 0.15, 5  # of one product or buffer
KINDS = ("float32", "bfloat16", "float16", "int8")


def measure(threads: int, kinds: Iterable[str]) -> Peaks:
    """The peaks of this process, with at most this many threads.

    Args:
        kinds: element types, of `KINDS`.
    """
    import torch

    products, reading = dict.fromkeys(kinds, 0.0), dict.fromkeys(map(str, BUFFERS_MIB), 0.0)
    # Alone too: where others compute meanwhile, two threads that wait for each other may do less than one.
    for count in sorted({1, threads}):
        torch.set_num_threads(count)
        with torch.inference_mode():
            products = {kind: max(rate, _gmacs_per_s(kind)) for kind, rate in products.items()}
            reading = {size: max(rate, _gb_per_s(int(size))) for size, rate in reading.items()}
    return Peaks(threads, products, reading)


def _gmacs_per_s(kind: str) -> float:
    """The most multiply-adds, in 1e9 a second, over square products of several sides."""
    return max(side**3 / _best_s(_product(kind, side)) for side in SIDES) / 1e9


def _product(kind: str, side: int) -> Callable[[], Tensor]:
    """A product of two square matrices; integers are summed in int32."""
    import torch

    if kind == "int8":
        a, b = (torch.randint(-128, 128, (side, side), dtype=torch.int8) for _ in range(2))
        return lambda: torch._int_mm(a, b)
    x, y = (torch.randn(side, side).to(getattr(torch, kind)) for _ in range(2))
    out = torch.empty_like(x)
    return lambda: torch.mm(x, y, out=out)


def _gb_per_s(size_mib: int) -> float:
    """Bytes in 1e9 a second, read from a buffer of this size from end to end, again and again.

    Timed block by block, the best of each: a whole pass takes longer than a busy system lets a process compute.
    """
    import torch

    blocks = torch.ones(size_mib * 2**20 // 4).split(BLOCK_MIB * 2**20 // 4)
    best = [float("inf")] * len(blocks)
    for _ in _while_worthwhile():
        for index, block in enumerate(blocks):
            best[index] = min(best[index], _seconds(block.sum))
    read: int = sum(block.numel() * 4 for block in blocks)
    return read / sum(best) / 1e9


def _best_s(call: Callable[[], Any]) -> float:
    """Seconds of the fastest call; one more before, which allocates."""
    call()
    return min(_seconds(call) for _ in _while_worthwhile())


def _while_worthwhile() -> Iterator[None]:
    """Turns until both the time and the least number are used up."""
    count, end = 0, time.perf_counter() + SECONDS
    while count < LEAST_CALLS or time.perf_counter() < end:
        yield
        count += 1


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main(job: str) -> None:
    """Bind this process, measure, print."""
    asked = json.loads(job)
    if asked["affinity"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, asked["affinity"])
    print(json.dumps(asdict(measure(asked["threads"], asked["kinds"])), allow_nan=False))


if __name__ == "__main__":
    main(sys.argv[1])
