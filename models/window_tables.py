"""What tables of relative positions tell of windows: a table has (2a - 1)(2b - 1) rows for a window of a x b."""

import math

from .family import ShapeError, State

TABLE = ".attn.relative_position_bias_table"


def told_window(state: State) -> tuple[int, int] | None:
    """Window that the widest table tells; None where it is no square, or every stage slides."""
    widest = max((table.shape[0] for key, table in state.items() if key.endswith(TABLE) and table.ndim == 2), default=0)
    side = (math.isqrt(widest) + 1) // 2
    return (side, side) if widest and is_square(widest) else None


def check_window(state: State, window: tuple[int, int]) -> None:
    """Refuse a window that has another number of positions than the widest table.

    Raises:
        ShapeError: it has.
    """
    widest = max((table.shape[0] for key, table in state.items() if key.endswith(TABLE) and table.ndim == 2), default=0)
    positions = (2 * window[0] - 1) * (2 * window[1] - 1)
    if positions != widest:
        raise ShapeError(f"{positions} positions, where the widest table has {widest}")


def is_square(number: int) -> bool:
    """Whether a square window has this number of positions, (2n - 1)^2 of n a side."""
    return math.isqrt(number) ** 2 == number
