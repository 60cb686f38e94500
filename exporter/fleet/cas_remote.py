"""Any place that fsspec reaches as the medium of a store; S3 by `s3fs`, which the user installs.

Credentials and endpoints are those of each machine's environment (AWS_PROFILE, AWS_ENDPOINT_URL, ...).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from slide_export.core.errors import RequestError, SlideExportError, WriteError
from slide_export.core.files import sha256_of
from slide_export.core.text import foreign

Found = TypeVar("Found")

PATIENT = {"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 4, "mode": "standard"}}
"""Of botocore: a store that is down says so within a minute, one that stumbles is asked again."""
SETTINGS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": PATIENT}, "s3a": {"config_kwargs": PATIENT}}
BUSY_S = (0.1, 0.4, 1.6)
"""Pauses where two conditional writes of one name met and the service asks for another try (409 of S3)."""


class Remote:
    """Files below a URL.

    Raises:
        RequestError: fsspec does not know the scheme, its package is not installed, or there is no such bucket.
    """

    def __init__(self, url: str) -> None:
        import fsspec

        self.url, scheme = url.rstrip("/"), url.partition(":")[0].lower()
        try:
            # A listing that was kept would hide what other machines wrote since.
            self._system, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False, **SETTINGS.get(scheme, {}))
        except (ImportError, ValueError) as error:
            raise RequestError(
                f"expected a store that fsspec reaches, it says of {scheme}://: {foreign(error, 200)}"
            ) from error
        self._root = str(root).rstrip("/")

    def add(self, name: str, source: Path) -> str:
        """Upload a file; the service shows it once it is whole."""
        with self._asked("write", name):
            sha256 = sha256_of(source)
            self._system.put_file(str(source), self._path(name))
        return sha256

    def take(self, name: str, source: Path) -> None:
        """Upload a file that is not there."""
        if self.size(name) != source.stat().st_size:
            with self._asked("write", name):
                self._system.put_file(str(source), self._path(name))

    def create(self, name: str, content: bytes) -> bool:
        """Write a name on the condition that it is free (S3: If-None-Match)."""
        path = self._path(name)
        with self._asked("write", name):
            for pause in (*BUSY_S, None):
                try:
                    self._system.pipe_file(path, content, mode="create")
                    return True
                except FileExistsError:
                    return False
                except OSError as error:
                    if pause is None or "ConditionalRequestConflict" not in str(error):
                        raise
                    time.sleep(pause)
        raise AssertionError("the last try returns or raises")

    def read(self, name: str) -> bytes | None:
        """Content of a small file."""
        return self._if_there(name, lambda path: cast(bytes, self._system.cat_file(path)))

    def open(self, name: str) -> BinaryIO | None:
        """A file, downloaded piece by piece as it is read."""
        return self._if_there(name, lambda path: cast(BinaryIO, _Reading(self, name, self._system.open(path, "rb"))))

    def size(self, name: str) -> int | None:
        """Bytes of a file."""
        return self._if_there(name, lambda path: int(self._system.info(path)["size"]))

    def names(self, directory: str) -> set[str]:
        """Names in a directory; none where nothing was written yet."""
        found = self._if_there(directory, lambda path: self._system.ls(path, detail=False))
        return {str(path).rpartition("/")[2] for path in found or ()} - {""}

    def refuse_unwritable(self) -> None:
        """Nothing can be seen without writing."""

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._if_there(name, self._system.rm_file)

    def _if_there(self, name: str, ask: Callable[[str], Found]) -> Found | None:
        """What the service tells of a name, None where it has none; in a bucket that is not there nothing can be."""
        with self._asked("read", name):
            try:
                return ask(self._path(name))
            except FileNotFoundError as error:
                if "bucket" in str(error).lower():
                    raise
                return None

    @contextmanager
    def _asked(self, what: str, name: str) -> Iterator[None]:
        try:
            yield
        except SlideExportError:
            raise
        except FileNotFoundError as error:
            raise RequestError(
                f"expected to {what} {name} in {self.url}, the service says: {foreign(error, 200)}; make the "
                "bucket first"
            ) from error
        except PermissionError as error:
            raise WriteError(
                f"expected to {what} {name} in {self.url}, the service refuses: {foreign(error, 200)}; credentials are "
                "those of this machine's environment"
            ) from error
        except Exception as error:  # each service's package has its own classes: no connection, no credentials
            raise WriteError(
                f"expected to {what} {name} in {self.url}, the service does not answer as it should: "
                f"{foreign(error, 200) or type(error).__name__}; run the same again when it does"
            ) from error

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


class _Reading:
    """A file that is being read; what goes wrong on the way is told as the rest is."""

    def __init__(self, medium: Remote, name: str, file: Any) -> None:
        self._medium, self._name, self._file = medium, name, file

    def __enter__(self) -> _Reading:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, count: int) -> bytes:
        """The next bytes."""
        with self._medium._asked("read", self._name):
            return cast(bytes, self._file.read(count))
