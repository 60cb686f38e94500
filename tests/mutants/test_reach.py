"""A line belongs to the innermost function that it is in, a definition's own line to none."""

from .reach import scope_of_lines

SOURCE = """\
LIMIT = 1

class Bound:
    share = 2

    def holds(self, by=3):
        def inner():
            return by
        return inner()
"""


def test_lines_of_bodies_belong_to_their_function() -> None:
    assert scope_of_lines(SOURCE) == {7: "Bound.holds", 8: "Bound.holds.inner", 9: "Bound.holds"}
