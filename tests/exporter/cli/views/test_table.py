"""Tables as a terminal of a given width shows them."""

from io import StringIO

from rich.console import Console
from rich.table import Table

from slide_export.cli.views.table import plain_table


def shown(table: Table, width: int) -> list[str]:
    console = Console(file=StringIO(), width=width)
    console.print(table)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_words_stand_left_and_numbers_right() -> None:
    table = plain_table(("artifact", "ms", "note"), words=(0, 2))
    table.add_row("a", "1.5", "x")
    assert [line.rstrip() for line in shown(table, 40)] == ["artifact   ms  note", "a         1.5  x"]


def test_without_heads_there_is_no_empty_line() -> None:
    table = plain_table()
    table.add_row("a", "b")
    assert [line.rstrip() for line in shown(table, 40)] == ["a  b"]


def test_what_is_too_long_is_folded_or_cut() -> None:
    folded, cut = plain_table(("name",), fold=True), plain_table(("name",))
    for table in (folded, cut):
        table.add_row("abcdefgh")
    assert [line.rstrip() for line in shown(folded, 4)] == ["name", "abcd", "efgh"]
    assert [line.rstrip() for line in shown(cut, 4)] == ["name", "abc…"]
