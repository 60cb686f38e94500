"""What a machine keeps of the artifact store: what a job made here need not be fetched, and what is old goes."""

import os
from pathlib import Path

import pytest

from slide_export.core.files import sha256_of
from slide_export.fleet import archive, cache, cas


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.PLACE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "_added", cache._Added())


def made(directory: Path, text: str) -> Path:
    """A directory as a job makes it."""
    (directory / "inner").mkdir(parents=True)
    (directory / "inner" / "a").write_text(text)
    (directory / "b").write_bytes(bytes(1000))
    return directory


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_what_was_made_here_is_what_elsewhere_is_fetched(tmp_path: Path) -> None:
    source, packed = made(tmp_path / "made", "one"), tmp_path / "packed.tar"
    expected, sha256 = files(source), archive.pack(source, packed)
    assert sha256 == sha256_of(packed)
    store = cas.open(tmp_path / "store")
    store.put(packed)
    fetched = cache.fetched(store, sha256, archive.unpack)
    assert files(fetched) == expected
    cache.keep(sha256, source)  # is there already
    assert source.exists()
    other, again = made(tmp_path / "other", "two"), tmp_path / "again.tar"
    expected, sha256 = files(other), archive.pack(other, again)
    cache.keep(sha256, other)
    assert not other.exists()
    assert files(cache.fetched(store, sha256, archive.unpack)) == expected  # which the store does not have


def test_what_was_not_used_for_longest_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cache.LARGEST, str(2500 / (1 << 30)))  # two of the three
    kept = []
    for number in range(3):
        source = made(tmp_path / str(number), str(number))
        sha256 = archive.pack(source, tmp_path / "packed.tar")
        cache.keep(sha256, source)
        kept.append(tmp_path / "cache/unpacked" / sha256)
        os.utime(kept[-1], (0, 1e6 + number * 2 * cache.IN_USE_S))
    source = made(tmp_path / "last", "last")
    cache.keep("0" * 64, source)
    assert [path.exists() for path in kept] == [False, False, True]
