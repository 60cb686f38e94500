"""What is stored is what is read back, whole or not at all, and of many writers of one key exactly one wins."""

import hashlib
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from slide_export.core.errors import CRASHED, UNWRITABLE, RequestError, SlideExportError, StoreError, WriteError
from slide_export.fleet import cas, cas_directory
from slide_export.fleet.cas import Store
from tests.s3_server import BUCKET, S3Server

KEY = hashlib.sha256(b"key").hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()
CONTENT = b"content " * 300_000  # more than a piece
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WRITERS = 8


@pytest.fixture(params=["directory", "file URL", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "s3":
        request.getfixturevalue("server")
    url = {
        "directory": tmp_path / "store",
        "file URL": f"file://{tmp_path}/store",
        "memory": f"memory://{tmp_path.name}",
        "s3": f"s3://{BUCKET}/{tmp_path.name}/fleet",
    }
    return cas.open(url[request.param])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(CONTENT)
    return path


def _in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


def test_content_comes_back_as_it_was(store: Store, source: Path, tmp_path: Path) -> None:
    assert not store.has(SHA256)
    assert [store.put(source), store.put(source)] == [SHA256, SHA256]
    assert store.has(SHA256)
    store.fetch(SHA256, tmp_path / "new" / "fetched")
    assert (tmp_path / "new" / "fetched").read_bytes() == CONTENT
    assert _in(tmp_path / "new") == ["fetched"]
    store.remove(SHA256)
    store.remove(SHA256)
    assert not store.has(SHA256)


def test_a_file_that_is_taken_is_there_and_on_the_disk_before_its_answer(
    store: Store, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = cas_directory.flush
    flushed: list[bytes] = []
    monkeypatch.setattr(cas_directory, "flush", lambda path: flushed.append(path.read_bytes()))
    for _ in range(2):  # the second finds as much there
        source.write_bytes(CONTENT)
        store.take(source, SHA256)
    assert store.commit(KEY, {"of": SHA256})[1]
    if isinstance(store._medium, cas_directory.Directory):
        assert sorted(flushed, key=len) == [b'{"of": "%s"}' % SHA256.encode(), CONTENT]
    monkeypatch.setattr(cas_directory, "flush", honest)
    store.fetch(SHA256, tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() == CONTENT


def test_the_first_answer_counts(store: Store) -> None:
    assert store.answer(KEY) is None
    assert store.keys() == set()
    assert store.commit(KEY, {"first": [1, 2.5, None]}) == ({"first": [1, 2.5, None]}, True)
    assert store.commit(KEY, {"second": True}) == ({"first": [1, 2.5, None]}, False)
    assert store.commit(OTHER, {}) == ({}, True)
    assert store.answer(KEY) == {"first": [1, 2.5, None]}
    assert store.keys() == {KEY, OTHER}
    assert cas.open(store.url).keys() == {KEY, OTHER}  # seen by whoever opens it anew


def test_one_of_many_writers_wins(store: Store) -> None:
    ready = threading.Barrier(WRITERS)

    def write(number: int) -> tuple[int, dict[str, int], bool]:
        ready.wait()
        return (number, *store.commit(KEY, {"writer": number}))

    with ThreadPoolExecutor(WRITERS) as pool:
        ended = list(pool.map(write, range(WRITERS)))
    ((winner, *_),) = [one for one in ended if one[2]]
    assert [told for _, told, _ in ended] == [{"writer": winner}] * WRITERS
    assert store.answer(KEY) == {"writer": winner}


def test_a_store_is_written_by_many_processes(tmp_path: Path) -> None:
    program = (
        "import sys; from slide_export.fleet import cas\n"
        "store = cas.open(sys.argv[1])\n"
        "print(sum(store.commit(f'{n:064x}', {'by': sys.argv[2]})[1] for n in range(40)))"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    assert sum(int(process.communicate()[0]) for process in running) == 40
    assert len(cas.open(tmp_path).keys()) == 40


def test_altered_content_is_refused_and_nothing_left(store: Store, source: Path, tmp_path: Path) -> None:
    store.put(source)
    store._medium.remove(f"cas/{SHA256[:2]}/{SHA256}")
    wrong = tmp_path / "wrong"
    wrong.write_bytes(CONTENT[:-1] + b"x")
    store._medium.add(f"cas/{SHA256[:2]}/{SHA256}", wrong)
    with pytest.raises(StoreError, match=f"expected cas/{SHA256[:2]}/{SHA256} of .* to be what its name says"):
        store.fetch(SHA256, tmp_path / "new" / "fetched")
    assert _in(tmp_path / "new") == []


def test_content_cut_short_is_stored_again(tmp_path: Path, source: Path) -> None:
    store = cas.open(tmp_path / "store")
    store.put(source)
    place = tmp_path / "store" / "cas" / SHA256[:2] / SHA256
    place.write_bytes(CONTENT[:100])
    store.put(source)
    assert place.read_bytes() == CONTENT


def test_content_that_is_not_there_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=f"expected cas/{SHA256[:2]}/{SHA256} in .*, found none"):
        store.fetch(SHA256, tmp_path / "fetched")
    assert not (tmp_path / "fetched").exists()


@pytest.mark.parametrize("content", [b"{", b"[1]", b""])
def test_an_answer_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / f"{KEY}.json").write_bytes(content)
    with pytest.raises(StoreError, match="expected a JSON object in jobs/"):
        cas.open(tmp_path).answer(KEY)


@pytest.mark.parametrize("name", ["../../etc/passwd", "", KEY.upper(), f"{KEY}/..", "a" * 1000])
def test_a_name_that_is_no_sha256_is_refused(tmp_path: Path, name: str) -> None:
    store = cas.open(tmp_path)
    for ask in (store.has, store.answer, lambda key: store.commit(key, {})):
        with pytest.raises(StoreError, match="expected a sha256"):
            ask(name)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("s3://name:word@bucket/fleet", "without a name and password"),
        ("nosuch://bucket/fleet", "it says of nosuch://"),
    ],
)
def test_a_url_that_cannot_be_a_store_is_refused(url: str, said: str) -> None:
    with pytest.raises(RequestError, match=said) as raised:
        cas.open(url)
    assert "word@" not in str(raised.value)


def test_a_bucket_that_is_not_there_is_said(server: S3Server) -> None:
    store = cas.open("s3://nosuch/fleet")
    with pytest.raises(RequestError, match="make the bucket first"):
        store.commit(KEY, {})


def _refused(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(WriteError, match=said) as raised:
        ask()
    assert raised.value.exit_code == UNWRITABLE


def test_a_full_disk_is_said_and_the_store_stays_sound(small_disk: Path, source: Path, tmp_path: Path) -> None:
    store = cas.open(small_disk)
    store.commit(KEY, {})
    _refused(lambda: store.put(source), "No space left on device; nothing was kept")
    assert (store.has(SHA256), _in(small_disk / "tmp")) == (False, [])
    (small_disk / "filler").write_bytes(bytes(900_000))
    with pytest.raises(SlideExportError):
        store.commit(OTHER, {"long": "x" * 200_000})
    assert store.keys() == {KEY}
    (small_disk / "filler").unlink()
    assert store.commit(OTHER, {"long": "x" * 200_000})[1]


def test_a_full_disk_is_said_of_what_is_fetched(small_disk: Path, source: Path, tmp_path: Path) -> None:
    store = cas.open(tmp_path / "store")
    store.put(source)
    _refused(lambda: store.fetch(SHA256, small_disk / "fetched"), "No space left on device")
    assert _in(small_disk) == []


def test_a_place_that_may_only_be_read_is_said(small_disk: Path, source: Path, tmp_path: Path) -> None:
    store = cas.open(small_disk)
    store.commit(KEY, {"written": "before"})
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    _refused(lambda: store.commit(OTHER, {}), "Read-only file system")
    _refused(lambda: store.put(source), "Read-only file system")
    assert store.answer(KEY) == {"written": "before"}


@pytest.mark.slow
def test_an_outage_is_said_and_ends(server: S3Server, source: Path, tmp_path: Path) -> None:
    store = cas.open(f"s3://{BUCKET}/{tmp_path.name}")
    store.put(source)
    server.stop()
    try:
        for ask in (
            lambda: store.has(SHA256),
            lambda: store.commit(KEY, {}),
            lambda: store.answer(KEY),
            store.keys,
            lambda: store.put(source),
            lambda: store.fetch(SHA256, tmp_path / "fetched"),
        ):
            _refused(ask, "the service does not answer as it should")
    finally:
        server.start()
    assert not (tmp_path / "fetched").exists()
    assert store.commit(KEY, {"after": 1}) == ({"after": 1}, True)  # the same store goes on


def test_exit_codes_tell_a_store_that_is_down_from_one_that_is_wrong() -> None:
    assert len({WriteError.exit_code, StoreError.exit_code, CRASHED}) == 3
