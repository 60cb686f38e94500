"""The one look of tables in a terminal: no box, dim heads, words to the left and numbers to the right."""

from __future__ import annotations

from collections.abc import Container, Sequence

from rich.console import JustifyMethod, OverflowMethod
from rich.table import Table


def plain_table(
    columns: Sequence[str] = (), words: Container[int] = (0,), *, fold: bool = False, whole: Container[int] = ()
) -> Table:
    """Empty table; rows are added as rich markup.

    Args:
        columns: heads; without them rows make columns of words as they come.
        words: indices of the columns that hold words; the others hold numbers.
        fold: break what is too long for its column in the middle of a word rather than cut it.
        whole: indices of the columns whose cells are never broken: paths and names that are copied from them.
    """
    table = Table(box=None, pad_edge=False, header_style="dim", show_header=bool(columns))
    for index, column in enumerate(columns):
        justify: JustifyMethod = "left" if index in words else "right"
        overflow: OverflowMethod = "fold" if fold else "ellipsis"
        table.add_column(column, justify=justify, overflow=overflow, no_wrap=index in whole)
    return table
