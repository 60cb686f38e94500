"""A plain load differs where its types do, and its sentence says by how much and what to set."""

from dataclasses import replace

import pytest

from slide_export.core.plain_load import PlainLoad

LOAD = PlainLoad("load()", False, {"hint": "f32", "mode": "exact"}, "it chooses", ("bfloat16",), ("float32",))


@pytest.mark.parametrize(
    ("computed", "differs"),
    [
        (("bfloat16",), True),
        (("float32", "bfloat16"), True),
        (("float32",), False),
        (("float32", "float32"), False),
        ((), False),
    ],
)
def test_it_differs_where_a_type_does_that_is_known(computed: tuple[str, ...], differs: bool) -> None:
    assert replace(LOAD, computed=computed).differs_here is differs


def test_the_sentence_says_what_was_found() -> None:
    said = (
        "plain load load(): it chooses; set hint: f32, mode: exact for what was proved (on this machine it computes in "
    )
    measured = replace(LOAD, max_abs=2e-3, limit_max=1e-5, passed=False)
    assert LOAD.sentence == f"{said}bfloat16)"
    assert measured.sentence == f"{said}bfloat16: error 2.0e-03, BEYOND 1.0e-05)"
    assert replace(measured, passed=True).sentence.endswith("error 2.0e-03, within 1.0e-05)")
    assert replace(LOAD, computed=()).sentence.endswith("types that it does not tell)")
    assert replace(LOAD, same=True).sentence == "plain load load(): computes what was proved; it chooses"
