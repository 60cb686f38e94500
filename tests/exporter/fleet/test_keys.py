"""One text for one value, and a key that changes with each part of a job and with nothing else."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slide_export.fleet.job import Job
from slide_export.fleet.keys import canonical, sha256_of

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def job(**changed: object) -> Job:
    parts = {"options": {"a": 1}, "inputs": {"checkpoint": "0" * 64}, "environment": {"torch": "2"}, **changed}
    return Job.of("export", 1, "digits", {"slot": 1}, **parts)  # type: ignore[arg-type]


def test_a_known_value_has_a_known_text_and_hash() -> None:
    assert canonical({"b": 1, "a": [1.5, None, "é"]}) == '{"a":[1.5,null,"é"],"b":1}'
    assert sha256_of({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=3), PLAIN, max_size=4))
def test_the_order_of_names_changes_nothing(value: dict[str, object]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


@pytest.mark.parametrize("value", [{1: 2}, [{"a": {None: 1}}], float("nan"), {"a": float("inf")}, {1, 2}])
def test_what_json_has_no_one_text_for_is_refused(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        canonical(value)


def test_a_key_is_of_every_part_and_of_no_name() -> None:
    changed = [
        job(options={"a": 2}),
        job(inputs={"checkpoint": "1" * 64}),
        job(environment={"torch": "3"}),
        Job.of("verify", 1, "digits", {"slot": 1}, options={"a": 1}, inputs={"checkpoint": "0" * 64},
               environment={"torch": "2"}),
        Job.of("export", 2, "digits", {"slot": 1}, options={"a": 1}, inputs={"checkpoint": "0" * 64},
               environment={"torch": "2"}),
    ]  # fmt: skip
    assert len({job().key, *(one.key for one in changed)}) == 6
    renamed = Job.of("export", 1, "other name", {"slot": 4}, options={"a": 1}, inputs={"checkpoint": "0" * 64},
                     environment={"torch": "2"})  # fmt: skip
    assert renamed.key == job().key


def test_a_key_is_the_hash_of_the_documented_text() -> None:
    parts = ["export", 1, {"a": 1}, {"checkpoint": "0" * 64}, {"torch": "2"}]
    assert job().key == sha256_of(parts)
