"""The artifact store of a fleet: content by its sha256, answers by the key of what was asked, each written once.

    STORE/cas/ab/abcdef…    content; its name is its sha256
    STORE/jobs/KEY.json     a stage's whole answer, written after all that it names: this file is the commit

Many machines write at once without a lock: equal content has an equal name, and of two answers to one key the first
one counts. A directory needs nothing beside Python; other places are reached by fsspec.

Example:
    store = cas.open("s3://team-models/fleet")
    sha256 = store.put(Path("bundle.tar"))
    told, ours = store.commit(key, {"bundle": sha256})   # `told` is what everybody sees, `ours` whether we wrote it
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from slide_export.core import hidden
from slide_export.core.errors import RequestError, StoreError, WriteError
from slide_export.core.files import flush, sha256_of, write_refusal

SHA256 = re.compile("[0-9a-f]{64}")
SCHEME = re.compile("([a-z][a-z0-9+.-]+)://", re.IGNORECASE)
CONTENT, ANSWERS = "cas", "jobs"
PIECE_BYTES = 1 << 20


class Medium(Protocol):
    """Where a store's files are, by names with forward slashes; none is ever seen half written."""

    url: str

    def add(self, name: str, source: Path) -> str:
        """Copy a file to a name, replacing what is there; the sha256 of what was copied."""

    def take(self, name: str, source: Path) -> None:
        """Move a file to a name, unless as much is there: on the disk when the next `create` ends, not before."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a name that is not there yet; False where it is. Of many at once exactly one gets True."""

    def read(self, name: str) -> bytes | None:
        """Content of a small file; None where there is none."""

    def open(self, name: str) -> BinaryIO | None:
        """A file, to be read piece by piece; None where there is none."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def names(self, directory: str) -> set[str]:
        """Names in a directory, by one listing."""

    def refuse_unwritable(self) -> None:
        """Refuse a place that can be seen to take no files."""

    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is no fault."""


class Store:
    """Content and answers on a medium.

    Raises:
        WriteError: by every method: the place is full, read-only, failing or not to be reached.
    """

    def __init__(self, medium: Medium) -> None:
        self.url, self._medium = medium.url, medium

    def refuse_unwritable(self) -> None:
        """Refuse a place that can be seen to take nothing, before the work whose results it is for."""
        self._medium.refuse_unwritable()

    def put(self, path: Path) -> str:
        """Store a file's content; its sha256. What is there already is not written again."""
        sha256 = sha256_of(path)
        if self._medium.size(_content(sha256)) == path.stat().st_size:
            return sha256
        if self._medium.add(_content(sha256), path) != sha256:
            self._medium.remove(_content(sha256))
            raise StoreError(
                f"expected {path} to stay as it is while it is stored, its content changed: store it again"
            )
        return sha256

    def take(self, path: Path, sha256: str) -> None:
        """Store a file of this sha256 that the next answer will name, and take it away where that is enough."""
        self._medium.take(_content(sha256), path)

    def fetch(self, sha256: str, path: Path) -> None:
        """Copy content to a path, checked while it is read; on any failure nothing is left there.

        Raises:
            StoreError: the store has no such content, or what it has under the name is other content.
        """
        found = self._medium.open(_content(sha256))
        if found is None:
            raise StoreError(f"expected {_content(sha256)} in {self.url}, found none: it was removed, or never stored")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with found, hidden.directory(path.parent) as scratch:
                partial = scratch / "content"
                if (read := copied(found, partial)) != sha256:
                    raise StoreError(
                        f"expected {_content(sha256)} of {self.url} to be what its name says, its sha256 is {read}: "
                        "remove it there, then run the same again, which makes it anew"
                    )
                flush(partial)
                partial.replace(path)
        except OSError as error:
            raise unwritten(error, path, self.url) from error

    def has(self, sha256: str) -> bool:
        """Whether the content is there."""
        return self._medium.size(_content(sha256)) is not None

    def remove(self, sha256: str) -> None:
        """Remove content that nothing needs any more."""
        self._medium.remove(_content(sha256))

    def commit(self, key: str, answer: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Write the answer of a key, unless it has one.

        Returns:
            The answer that counts, which is the first one's, and whether that is ours.
        """
        content = json.dumps(answer, sort_keys=True, allow_nan=False).encode()
        while True:  # around again where another's answer was removed between the two calls
            if self._medium.create(_answer(key), content):
                return dict(json.loads(content)), True
            if (first := self.answer(key)) is not None:
                return first, False

    def answer(self, key: str) -> dict[str, Any] | None:
        """The answer that was committed to a key; None where there is none.

        Raises:
            StoreError: it is no JSON object.
        """
        content = self._medium.read(_answer(key))
        if content is None:
            return None
        with suppress(ValueError):
            if isinstance(found := json.loads(content), dict):
                return found
        raise StoreError(
            f"expected a JSON object in {_answer(key)} of {self.url}, found other content: remove it there"
        )

    def keys(self) -> set[str]:
        """Keys that have an answer."""
        names = self._medium.names(ANSWERS)
        return {name.removesuffix(".json") for name in names if name.endswith(".json")}


def open(url: str | Path) -> Store:
    """The store at a directory or a URL of fsspec.

    Raises:
        RequestError: the URL holds a password, names what fsspec does not know, or has no such bucket.
    """
    from .cas_directory import Directory
    from .cas_remote import Remote

    found = SCHEME.match(str(url))
    if found is None or found[1].lower() == "file":
        return Store(Directory(Path(str(url)[found.end() if found else 0 :])))
    if "@" in str(url)[found.end() :].partition("/")[0]:
        raise RequestError(
            f"expected a store without a name and password in its URL, found one at {found[0]}: credentials belong in "
            "each machine's environment"
        )
    return Store(Remote(str(url)))


def unwritten(error: OSError, place: Path, url: str) -> WriteError:
    """An error of the system as a sentence."""
    said = write_refusal(error, place) or f"expected to read and write {url}, the system says: {error}"
    return WriteError(f"{said}; nothing was kept")


def copied(source: BinaryIO, path: Path) -> str:
    """sha256 of what was copied to a file."""
    digest = hashlib.sha256()
    with path.open("wb") as file:
        while piece := source.read(PIECE_BYTES):
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest()


def _content(sha256: str) -> str:
    return f"{CONTENT}/{_checked(sha256)[:2]}/{sha256}"


def _answer(key: str) -> str:
    return f"{ANSWERS}/{_checked(key)}.json"


def _checked(name: str) -> str:
    """A name that is a sha256, so that none reaches outside its directory."""
    if SHA256.fullmatch(name) is None:
        raise StoreError(f"expected a sha256, 64 hexadecimal digits, found {name[:100]!r}")
    return name
