"""What a pickle asks for is told before anything is made: storages, calls, sizes, each on both sides of its bound."""

import collections
import io
import pickle
from typing import Any

import pytest
import torch

from slide_export.checkpoint.pickle_claims import (
    FREE,
    LARGEST,
    OPAQUE,
    SIZE_AT,
    SUBCLASS,
    Claims,
    Name,
    Stored,
    claims_of,
    refuse_claims,
)
from slide_export.core.errors import CheckpointError


def claims(value: Any, protocol: int = 2) -> Claims:
    return claims_of(io.BytesIO(pickle.dumps(value, protocol=protocol)))


def program(body: bytes) -> Claims:
    return claims_of(io.BytesIO(b"\x80\x02" + body))


@pytest.mark.parametrize("value", [None, True, 3, -70_000, 2**40, 1.5, "ü", [], [1, [2, "a"]], (), (1, (2, 3), 4, 5)])
def test_plain_values_are_read_to_their_end(value: Any) -> None:
    found = claims(value)
    assert found.whole
    assert found.value == value
    assert (found.calls, found.storages) == ([], [])


def test_mappings_are_of_no_matter_and_what_stands_in_them_is() -> None:
    found = claims({"a": {1}, "b": collections.OrderedDict(c=1)})
    assert found.value is OPAQUE
    assert ("collections.OrderedDict", ()) in found.calls


def test_calls_are_told_by_name_with_their_arguments() -> None:
    found = claims(complex(1, 2))
    assert found.calls == [("builtins.complex", (1.0, 2.0))]  # Python 2's name in the file
    assert claims(torch.Size([2, 3])).calls == [("torch.Size", ((2, 3),))]


def test_a_storage_is_told_by_its_key_and_size() -> None:
    buffer = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", "type", "7", "cpu", 12) if value == "here" else ("module", 0) if value == 5 else None

    Pickler(buffer, protocol=2).dump(["here", 5])
    found = claims_of(io.BytesIO(buffer.getvalue()))
    assert found.storages == [Stored("7", 12)]
    assert found.value == [Stored("7", 12), OPAQUE]


def test_only_the_first_pickle_of_a_stream_is_read() -> None:
    stream = io.BytesIO(pickle.dumps([1], protocol=2) + pickle.dumps([2], protocol=2))
    assert [claims_of(stream).value, claims_of(stream).value] == [[1], [2]]


def test_an_opcode_that_torchs_reader_does_not_know_ends_the_account() -> None:
    assert not claims({"a": b"x" * 300}, protocol=4).whole
    assert not program(b"I1\n.").whole  # of protocol 0


@pytest.mark.parametrize(
    "body",
    [b"R.", b"K\x01R.", b"t.", b"\x86.", b"K\x01\x86.", b"h\x05.", b"q\x00.", b"e.", b"K\x01K\x02s.", b"u.", b"Q."],
    ids=["call", "call of one", "tuple", "pair", "pair of one", "get", "put", "extend", "set", "update", "storage"],
)
def test_an_opcode_without_what_it_takes_is_damage(body: bytes) -> None:
    with pytest.raises(ValueError, match="without what it needs"):
        program(body)


def test_a_number_beyond_any_tensor_is_damage() -> None:
    with pytest.raises(ValueError, match="a whole number of"):
        claims(1 << 8 * 300)
    assert claims(1 << 8 * 200).whole


def nested(items: int) -> Any:
    """Tuples that have so many items with those of their tuples, the outermost not counted; a few objects."""
    doubled: list[tuple[Any, ...]] = [()]
    while 2 ** (len(doubled) + 1) - 1 <= items:
        doubled.append((doubled[-1], doubled[-1]))
    parts = []
    for power in reversed(range(len(doubled))):
        while items >= 2 ** (power + 1) - 1:
            parts.append(doubled[power])
            items -= 2 ** (power + 1) - 1
    return tuple(parts)


def test_a_tuple_is_refused_by_all_that_it_holds() -> None:
    assert claims(nested(LARGEST - 1)).whole
    with pytest.raises(ValueError, match=f"a tuple of {LARGEST + 1} items"):
        claims(nested(LARGEST))


SIZE = 1000
MOST = 4 * SIZE + FREE


def refused(name: str, *arguments: Any) -> str:
    """The sentence about one call in a file of 1000 bytes; "" where it may be made."""
    try:
        refuse_claims(Claims(calls=[(name, arguments)]), SIZE, "run.pth")
    except CheckpointError as error:
        assert str(error).startswith("expected a checkpoint whose values stand in the file, run.pth ")
        return str(error)
    return ""


@pytest.mark.parametrize("name", SIZE_AT)
def test_a_tensor_of_more_numbers_than_a_file_can_expand_to_is_refused(name: str) -> None:
    assert f"a tensor of {MOST + 1} numbers in 1000 bytes" in refused(name, Stored("0", 1), 0, (MOST + 1,), (0,))
    assert refused(name, Stored("0", 1), 0, (MOST,), (0,)) == ""
    assert refused(name, Stored("0", 1), 0, (MOST + 1, 0), (0, 0)) == ""
    assert refused(name, Stored("0", 1), 0) == ""  # torch says what is missing
    assert refused(name, Stored("0", 1), 0, ("a",), ()) == ""


def test_a_subclass_is_judged_by_the_tensor_in_it() -> None:
    rebuilt = next(iter(SIZE_AT))
    inner = (Stored("0", 1), 0, (MOST + 1,), (0,))
    assert "a tensor of" in refused(SUBCLASS, Name(rebuilt), Name("torch.Tensor"), inner)
    assert refused(SUBCLASS, Name(rebuilt), Name("torch.Tensor"), (Stored("0", 1), 0, (3,), (1,))) == ""
    assert "makes a tensor by os.system" in refused(SUBCLASS, Name("os.system"), Name("torch.Tensor"), inner)
    assert "makes a tensor by something else" in refused(SUBCLASS)
    assert "makes a tensor by something else" in refused(SUBCLASS, 3)


@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("torch.FloatTensor", (10, 128), "asks for a torch.FloatTensor without values"),
        ("torch.storage.UntypedStorage", (10,), "asks for a torch.storage.UntypedStorage without values"),
        ("torch.FloatTensor", (), ""),
        ("torch.Size", ((10, 128),), ""),
        ("numpy.Tensor", (10,), ""),
        ("builtins.bytearray", (10,), "asks for 10 bytes without values"),
        ("builtins.bytearray", ("abc", "latin1"), ""),
        ("_codecs.encode", ("é", "latin1"), ""),
        ("_codecs.encode", ("é", "punycode"), "another encoding"),
        ("_codecs.encode", ("é",), "another encoding"),
    ],
)
def test_what_makes_memory_of_nothing_is_refused(name: str, arguments: tuple[Any, ...], told: str) -> None:
    found = refused(name, *arguments)
    assert told in found
    assert bool(found) == bool(told)
