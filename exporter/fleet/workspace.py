"""One job's files on its worker: what it takes, fetched and checked; what it makes, kept in the artifact store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from slide_export.core import hidden, typed_json
from slide_export.core.errors import RequestError

from . import archive, cache, cas
from .job import Answer
from .stages import Stage

JUDGED = ("outcome", "exit_code", "output", "result")
"""What two executions of a deterministic stage have to agree in."""
SPARED = ("worker", "ours", "differs", "peak_mib")
"""Of an attempt, not of the answer: not committed."""


class Workspace:
    """A directory for one job, and the store it takes from and gives to.

    Attributes:
        place: empty at first; the job's process runs in it.
    """

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order
        self._store = None if order["store"] is None else cas.open(order["store"])
        self._stack = ExitStack()

    def __enter__(self) -> Workspace:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    @property
    def place(self) -> Path:
        """The job's directory, made when it is asked for first."""
        if not hasattr(self, "_place"):
            self._place = self._stack.enter_context(hidden.directory(cache.jobs()))
        return self._place

    def committed(self) -> Answer | None:
        """The answer that the store has already, whoever gave it; None where it has none or its output is gone."""
        if self._store is None:
            return None
        told = self._store.answer(self._order["key"])
        if told is None:
            return None
        found = replace(typed_json.read(Answer, told), ours=False)
        gone = found.output is not None and not self._store.has(found.output)
        return None if gone else found

    def links(self) -> dict[str, str]:
        """Where in the job's directory what lies: paths that are the same on every machine, to where it is here.

        Given   inputs {"checkpoint": SHA, "bundle": "KEY"}, sources {SHA: {"name": "a.pth", "path": "/runs/a.pth"}}
        Result  {"in/checkpoint/a.pth": "/runs/a.pth", "in/bundle": "/cache/unpacked/OUTPUT"}
        """
        return dict(self._links())

    def _links(self) -> Iterator[tuple[str, str]]:
        for role, named in self._order["spec"]["inputs"].items():
            for number, one in enumerate(named if isinstance(named, list) else [named]):
                place = f"in/{role}/{number}" if isinstance(named, list) else f"in/{role}"
                if one in self._order["sources"]:
                    source = self._order["sources"][one]
                    yield f"{place}/{source['name']}", str(self._source(source))
                elif (output := self._order["outputs"].get(one)) is not None and not self._passed(one, output):
                    yield place, str(self._output(output))

    def _passed(self, key: str, output: str) -> bool:
        """Whether an output was removed meanwhile that is kept only for a while: the stage does without it."""
        return key in self._order["passing"] and self._store is not None and not self._store.has(output)

    def _source(self, source: Mapping[str, Any]) -> Path:
        """A checkpoint or images: where the plan says on this machine, or fetched from the store."""
        if "path" in source:
            return _unchanged(Path(source["path"]), source["seen"])
        assert self._store is not None
        fetched = cache.fetched(self._store, source["sha256"], archive.unpack if source["packed"] else None)
        return fetched / source["name"] if source["packed"] else fetched

    def _output(self, sha256: str) -> Path:
        """What another job made, unpacked."""
        assert self._store is not None
        return cache.fetched(self._store, sha256, archive.unpack)

    def uploaded(self, answer: Answer, output: str | None, stage: Stage) -> Answer:
        """An answer with its output, a directory of the job's place, in the store and in this machine's cache."""
        if output is None or self._store is None:
            return answer
        made, packed = self.place / output, self.place / f"{output}.tar"
        sha256 = archive.pack(made, packed)
        size = packed.stat().st_size
        self._store.take(packed, sha256)
        cache.keep(sha256, made)
        return replace(answer, output=sha256, bytes=size, kind=stage.kind, ephemeral=stage.ephemeral)

    def commit(self, answer: Answer, *, deterministic: bool) -> Answer:
        """Write an answer to the store, where it is one for everybody; the first that was written counts."""
        if self._store is None or answer.outcome not in ("done", "refused"):
            return answer
        told = {name: value for name, value in typed_json.plain(answer).items() if name not in SPARED}
        first, ours = self._store.commit(self._order["key"], typed_json.finite(told))
        if ours:
            return answer
        before = typed_json.read(Answer, first)
        same = [name for name in JUDGED if getattr(before, name) == getattr(answer, name)]
        differs = tuple(name for name in JUDGED if name not in same) if deterministic else ()
        # What was committed first counts; where its output was removed since, this one takes its place.
        counts = before if before.output is None or self._store.has(before.output) else answer
        return replace(counts, ours=False, differs=differs, peak_mib=answer.peak_mib)


def _unchanged(place: Path, seen: list[int]) -> Path:
    """A file of this machine as it was when its content was read.

    Raises:
        RequestError: it is another one now: what came of it would stand under the wrong key.
    """
    try:
        status = place.stat()
    except OSError as error:
        raise RequestError(f"expected {place} as it was planned, the system says: {error.strerror}") from error
    if seen and seen != [status.st_size, status.st_mtime_ns]:
        raise RequestError(f"expected {place} as it was planned, it has changed since: run the same command again")
    return place
