"""The sides of a Swin's windows: a square is told by its table, any other by its index or by whoever trained it.

Given:  a table of 105 rows, (2a - 1)(2b - 1) of a window of a x b, and the index of its pairs of tokens, [32, 32]
Result: a*b = 32 leaves 4x8 and 8x4; the index is that of 4x8
"""

import math
import re
from collections.abc import Mapping

from torch import Tensor

from slide_export.models.family import State, UntoldError
from slide_export.models.swin import PATCH
from slide_export.models.window_attention import relative_position_index
from slide_export.models.window_tables import is_square

from .format import Beside, pair

Window = tuple[int, int]
TABLE = r"layers\.(\d+)\.blocks\.0\.attn\.relative_position_bias_table"
WINDOW, IMAGE = "window_size", "image_size"  # as `--model` has them


def tables(state: State) -> dict[int, Tensor]:
    """The table of each stage's first block, [positions, nH]; slide attention has none."""
    found = {int(match[1]): value for key, value in state.items() if (match := re.fullmatch(TABLE, key))}
    return {stage: value for stage, value in sorted(found.items()) if value.ndim == 2}


def has_oblong(state: State) -> bool:
    """Whether a table has a number of rows that no square window has."""
    return any(not is_square(table.shape[0]) for table in tables(state).values())


def said(beside: Beside, name: str) -> Window | None:
    """Rows and columns that the user says of the model; None where nobody does, or not as they are to be written.

    What is written otherwise is refused where the family's values are read.
    """
    match = re.fullmatch(r"([1-9]\d{0,5})(?:x([1-9]\d{0,5}))?", beside.said.get(name, ""))
    return (int(match[1]), int(match[2] or match[1])) if match else None


def tell(state: State, told: Mapping[str, object], beside: Beside) -> dict[str, Window]:
    """Tell window and input of a model with oblong tables: what a file or the user tells, then what the tables do.

    Raises:
        UntoldError: neither tells them.
    """
    window = pair(told["window"], "window") if "window" in told else said(beside, WINDOW)
    image = pair(told["image_size"]) if "image_size" in told else said(beside, IMAGE)
    if window is None or image is None:
        stages = {stage: _sides(stage, table, state, beside) for stage, table in tables(state).items()}
        widest = next(iter(stages.values()))
        if window is None:
            window = widest or _ask(state, WINDOW, "rows and columns of its windows")
        rows = max(table.shape[0] for table in tables(state).values())
        stages |= {stage: window for stage, table in tables(state).items() if table.shape[0] == rows}
        image = image or _input(window, stages, state)
    return {"window": window, "image_size": image}


def _sides(stage: int, table: Tensor, state: State, beside: Beside) -> Window | None:
    """Tell the sides of one stage's windows; None where nothing does."""
    rows = table.shape[0]
    if is_square(rows):
        return (math.isqrt(rows) + 1) // 2, (math.isqrt(rows) + 1) // 2
    index = f"layers.{stage}.blocks.0.attn.relative_position_index"
    if index not in state or state[index].ndim != 2 or beside.tensor is None:
        return None
    found = beside.tensor(index)
    return next((one for one in _candidates(rows, found.shape[0]) if _is_of(found, one)), None)


def _candidates(rows: int, tokens: int) -> list[Window]:
    """List the windows of a number of positions and a number of tokens: one, and the same turned."""
    sides = ((first, tokens // first) for first in range(1, tokens + 1) if tokens % first == 0)
    return [(a, b) for a, b in sides if (2 * a - 1) * (2 * b - 1) == rows]


def _is_of(index: Tensor, window: Window) -> bool:
    expected = relative_position_index(window)
    return bool(expected.shape == index.shape and (expected == index).all())


def _input(window: Window, stages: Mapping[int, Window | None], state: State) -> Window:
    """Tell the input: on each axis from the first stage whose windows are cut to the map, else 32 times the window."""
    last = max(stages)
    sides = []
    for axis in (0, 1):
        cut = next((stage for stage, sides in stages.items() if sides is None or sides[axis] < window[axis]), last)
        found = stages[cut]
        if found is None:
            found = _ask(state, IMAGE, "rows and columns of the input that it was trained with")
        sides.append(found[axis] * PATCH << cut)
    return sides[0], sides[1]


def _ask(state: State, name: str, what: str) -> Window:
    """Ask for what no file tells.

    Raises:
        UntoldError: always.
    """
    rows = next(table.shape[0] for table in tables(state).values() if not is_square(table.shape[0]))
    words = f"windows that are no square (a table of {rows} positions), whose sides no file tells: say the {what}"
    raise UntoldError(words, name, "8x10" if name == WINDOW else "256x320")
