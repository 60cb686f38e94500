"""What a service of files says, in the words of a store: nothing there, nobody allowed, try again, or down."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from slide_export.core.errors import RequestError, SlideExportError, StoreError, WriteError
from slide_export.fleet import cas_remote
from slide_export.fleet.cas_remote import BUSY_S, Remote

CONTENT = b"content"
CONFLICT = OSError("An error occurred (ConditionalRequestConflict) when calling the PutObject operation")


@pytest.fixture
def medium(tmp_path: Path) -> Remote:
    return Remote(f"memory://{tmp_path.name}/store/")


class _Says:
    """A service that says one thing to whatever is asked, or answers after some tries."""

    def __init__(self, *said: BaseException | None) -> None:
        self.said, self.asked = list(said), 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def ask(*_given: object, **_more: object) -> bytes:
            self.asked += 1
            said = self.said.pop(0) if len(self.said) > 1 else self.said[0]
            if said is not None:
                raise said
            return CONTENT

        return ask


def answering(medium: Remote, *said: BaseException | None) -> _Says:
    medium._system = says = _Says(*said)
    return says


def test_a_file_is_written_read_and_removed_by_its_name(medium: Remote, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    medium.refuse_unwritable()
    assert (medium.read("cas/a"), medium.open("cas/a"), medium.size("cas/a")) == (None, None, None)
    assert medium.names("cas") == set()
    assert medium.add("cas/a", source) == hashlib.sha256(CONTENT).hexdigest()
    assert (medium.read("cas/a"), medium.size("cas/a"), medium.names("cas")) == (CONTENT, len(CONTENT), {"a"})
    found = medium.open("cas/a")
    assert found is not None
    with found:
        assert [found.read(4), found.read(9), found.read(9)] == [b"cont", b"ent", b""]
    for _ in range(2):
        medium.remove("cas/a")
    assert medium.names("cas") == set()


def test_what_is_there_is_not_uploaded_again(medium: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(CONTENT)
    medium.take("cas/a", source)
    monkeypatch.setattr(type(medium._system), "put_file", None)
    medium.take("cas/a", source)
    assert source.exists()


def test_a_name_is_written_once(medium: Remote) -> None:
    assert [medium.create("jobs/a", content) for content in (b"first", b"second")] == [True, False]
    assert medium.read("jobs/a") == b"first"


@pytest.mark.parametrize("tries", range(1, len(BUSY_S) + 1))
def test_two_writers_that_met_try_again(tries: int, medium: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(cas_remote.time, "sleep", slept.append)
    says = answering(medium, *[CONFLICT] * tries, None)
    assert medium.create("jobs/a", b"{}")
    assert (says.asked, slept) == (tries + 1, list(BUSY_S[:tries]))


def test_writers_that_keep_meeting_are_told(medium: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cas_remote.time, "sleep", lambda _pause_s: None)
    says = answering(medium, CONFLICT)
    with pytest.raises(WriteError, match="ConditionalRequestConflict"):
        medium.create("jobs/a", b"{}")
    assert says.asked == len(BUSY_S) + 1


def test_another_refusal_is_not_tried_again(medium: Remote) -> None:
    says = answering(medium, OSError("InternalError"))
    with pytest.raises(WriteError, match="InternalError"):
        medium.create("jobs/a", b"{}")
    assert says.asked == 1


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (FileNotFoundError("The specified bucket does not exist"), RequestError, "make the bucket first"),
        (
            PermissionError("AccessDenied"),
            WriteError,
            "expected to read cas/a .*the service refuses: AccessDenied",
        ),
        (TimeoutError(), WriteError, "does not answer as it should: TimeoutError; run the same again"),
        (ConnectionError("no route"), WriteError, "does not answer as it should: no route"),
        (StoreError("ours"), StoreError, "^ours$"),
    ],
)
def test_what_the_service_says_is_told(
    said: BaseException, kind: type[SlideExportError], words: str, medium: Remote
) -> None:
    answering(medium, said)
    for ask in (medium.read, medium.open, medium.size, medium.names, medium.remove):
        with pytest.raises(kind, match=words):
            ask("cas/a")


def test_a_connection_that_breaks_while_reading_is_told(medium: Remote) -> None:
    broken = cas_remote._Reading(medium, "cas/a", _Says(ConnectionResetError("reset by peer")))
    with pytest.raises(WriteError, match=r"expected to read cas/a in .*: reset by peer"):
        broken.read(4)


def test_a_scheme_that_nothing_reaches_is_named_without_the_rest() -> None:
    with pytest.raises(RequestError, match="expected a store that fsspec reaches, it says of nosuch://"):
        Remote("nosuch://bucket/fleet")


def test_the_service_is_asked_patiently_and_no_listing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []

    def opened(url: str, **options: Any) -> tuple[None, str]:
        told.append(options)
        return None, "bucket/fleet/"

    monkeypatch.setattr(fsspec.core, "url_to_fs", opened)
    made = Remote("S3://bucket/fleet/"), Remote("gs://bucket/fleet")
    patient, plain = told
    assert patient == {"use_listings_cache": False, "config_kwargs": cas_remote.PATIENT}
    assert plain == {"use_listings_cache": False}
    assert [(one.url, one._path("cas/a")) for one in made] == [
        ("S3://bucket/fleet", "bucket/fleet/cas/a"),
        ("gs://bucket/fleet", "bucket/fleet/cas/a"),
    ]
