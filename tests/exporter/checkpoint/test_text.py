import pytest

from slide_export.checkpoint.text import LISTED, listed


@pytest.mark.parametrize(("count", "said"), [(0, ""), (1, "0"), (LISTED, "0, 1, 2, 3, 4, 5, 6, 7")])
def test_a_short_list_is_named_whole(count: int, said: str) -> None:
    assert listed([str(n) for n in range(count)]) == said


def test_what_is_beyond_the_first_is_counted() -> None:
    assert listed([str(n) for n in range(LISTED + 1)]) == "0, 1, 2, 3, 4, 5, 6, 7, and 1 more"
    assert listed(["a", "b", "c"], "; ", most=1) == "a; and 2 more"
