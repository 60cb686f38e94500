"""Result files -> a page on disk, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slide_export.benchmark import result_file as result
from slide_export.core import files as whole_file
from slide_export.core.errors import RequestError
from slide_export.core.measurement import BenchmarkResult
from slide_export.models import FAMILIES

from . import html, markdown
from .compose import compose
from .document import Document
from .validate import refuse_unsound

FORMATS: Mapping[str, Callable[[Document], str]] = {".html": html.write, ".md": markdown.write}


def reports(sources: Sequence[Path], outs: Sequence[Path]) -> tuple[Path, ...]:
    """Returns `outs` after writing the page of all the results to each, as HTML or as Markdown by its ending.

    Raises:
        RequestError: there is no result, one is named twice, the ending is another, or the page cannot be written.
        BundleError: a file is no result.
    """
    for out in outs:
        _writer(out)  # before any work is done
    if not sources:
        raise RequestError("expected at least one result of `slide-export bench` or `compare`, found none")
    results = [result.read(source) for source in sources]
    for source, content in zip(sources, results, strict=True):
        refuse_unsound(content, str(source))
    for place, content in enumerate(results):
        if content in results[:place]:
            twin = sources[results.index(content)]
            raise RequestError(f"expected each result once, found the same in {twin} and {sources[place]}: name one")
    return tuple(write(results, out) for out in outs)


def refuse_existing(out: Path, names: Sequence[str], *, overwrite: bool) -> None:
    """Refuses to write over the results or the pages in a directory, unless that was asked for.

    Raises:
        RequestError: one of them exists, or the directory is a file.
    """
    if out.exists() and not out.is_dir():
        raise RequestError(f"expected a directory for the results, {out} is a file: choose another -o")
    there = [path for path in _files(out, names) if path.exists()]
    if there and not overwrite:
        raise RequestError(f"expected a free place for the results, {there[0]} exists: add --overwrite or another -o")


def directory(results: Mapping[str, BenchmarkResult], out: Path) -> tuple[Path, ...]:
    """Returns the files after writing each result as `NAME.json` and the page of all, in HTML and in Markdown.

    Raises:
        SlideExportError: the system does not let it.
    """
    paths = _files(out, list(results))
    for path, content in zip(paths, results.values(), strict=False):
        result.write(content, path)
    for path in paths[len(results) :]:
        write(list(results.values()), path)
    return paths


def _files(out: Path, names: Sequence[str]) -> tuple[Path, ...]:
    return (*(out / f"{name}.json" for name in names), *(out / f"report{ending}" for ending in FORMATS))


def write(results: Sequence[BenchmarkResult], out: Path) -> Path:
    """Returns `out` after writing the page of results there.

    Raises:
        RequestError: the ending is no format's, or the page cannot be written.
    """
    published = {name: said.top1 for family in FAMILIES for name, said in family.published.items()}
    whole_file.write(out, _writer(out)(compose(results, published)))
    return out


def _writer(out: Path) -> Callable[[Document], str]:
    """Returns the writer of a file's ending; raises `RequestError` where there is none."""
    if out.suffix.lower() not in FORMATS:
        raise RequestError(f"expected a report that ends in {' or '.join(FORMATS)}, found {str(out)!r}")
    return FORMATS[out.suffix.lower()]
