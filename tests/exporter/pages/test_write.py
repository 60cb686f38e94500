"""The page, whole: the numbers are the results', nothing is loaded, nothing is half written."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from slide_export.benchmark import result_file as results
from slide_export.cli import main as cli
from slide_export.core.errors import RequestError
from slide_export.pages import write
from tests.exporter.pages.synthetic import other_device, result, run, sitting, subject

EVIL = '"><script>alert(1)</script>|*`<b>'


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, content in zip(paths, (sitting(), other_device()), strict=True):
        path.write_text(results.to_json(content))
    return paths


class Reader(HTMLParser):
    """Collects tables, tags and everything that a browser would load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[list[str]] = []
        self.tags: set[str] = set()
        self.loaded: list[str] = []
        self._open = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data", "poster")]
        if tag == "tr":
            self.cells.append([])
        self._open = tag in ("td", "th")
        if self._open:
            self.cells[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._open:
            self.cells[-1][-1] += data


def markdown_cells(text: str) -> list[list[str]]:
    rows = [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row] for row in rows if not row[0].startswith(" ---")]


def page(sources: list[Path], name: str) -> str:
    (path,) = write.reports(sources, [sources[0].parent / name])
    return path.read_text()


def test_every_run_is_there_with_its_numbers(sources: list[Path]) -> None:
    rows = Reader(page(sources, "r.html")).cells
    for one in (*sitting().runs, *other_device().runs):
        p50, p99 = one.p50_ms, one.p99_ms
        (row,) = [
            row for row in rows if f"{p50.value:.2f} [{p50.low:.2f}, {p50.high:.2f}]" in row[3:4] and len(row) == 7
        ]
        assert row[0] == f"{one.subject.name} {one.subject.precision}"
        assert row[5] == f"{p99.value:.2f} [{p99.low:.2f}, {p99.high:.2f}]"
        assert row[6] == f"{one.images_per_s:.1f}"


def test_every_comparison_is_there(sources: list[Path]) -> None:
    rows = Reader(page(sources, "r.html")).cells
    for found in (*sitting().comparisons, *other_device().comparisons):
        of = found.ratio
        assert any(row[-2:] == [f"{of.value:.3f} [{of.low:.3f}, {of.high:.3f}]", found.verdict] for row in rows)


def test_markdown_has_the_same_tables(sources: list[Path]) -> None:
    html, markdown = page(sources, "r.html"), page(sources, "r.md")
    cells = [[cell.strip() for cell in row] for row in Reader(html).cells]
    assert markdown_cells(markdown) == cells
    assert len(cells) > 60


def test_no_ratio_crosses_sittings(sources: list[Path]) -> None:
    compared = [row for row in Reader(page(sources, "r.html")).cells if row[-1] in ("faster", "slower", "same")]
    assert {tuple(row[:3]) for row in compared if "onnx" in row[2]} == {
        ("slide_swin_tiny fp32", "swin_tiny fp32", "onnx")
    }
    assert "Put side by side, not compared" in page(sources, "r.html")


def test_environment_and_doubts_of_each_device_are_told(sources: list[Path]) -> None:
    text = page(sources, "r.md")
    assert "a board, 2026-11-25 08:00:00 UTC" in text
    assert "this machine, 2026-11-24 17:03:24 UTC" in text
    assert "The load average was 1.20 before the measurement began." in text


def test_nothing_is_loaded_and_nothing_runs(sources: list[Path]) -> None:
    text = page(sources, "r.html")
    seen = Reader(text)
    assert all(target.startswith("#") for target in seen.loaded)
    assert not seen.tags & {"script", "link", "img", "iframe", "object", "embed"}
    assert not re.search(r"https?:|@import|url\(", text)


@pytest.mark.parametrize("name", ["r.html", "r.md"])
def test_the_same_results_give_the_same_bytes(sources: list[Path], name: str) -> None:
    assert page(sources, name) == page(sources, name)


def test_names_cannot_break_out(tmp_path: Path) -> None:
    hostile = result((run(subject(EVIL, variant=EVIL, lowering=EVIL), 10.0),), device=EVIL, warnings=(EVIL,))
    (tmp_path / "x.json").write_text(results.to_json(hostile))
    html, markdown = page([tmp_path / "x.json"], "r.html"), page([tmp_path / "x.json"], "r.md")
    seen = Reader(html)
    assert "script" not in seen.tags
    assert any(cell.startswith(EVIL) for row in seen.cells for cell in row)
    assert "<script" not in markdown
    for table in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE):
        assert len({row.count("|") - row.count(r"\|") for row in table.splitlines()}) == 1


def test_measured_accuracy_is_drawn_before_published_before_size() -> None:
    from slide_export.pages.compose import compose

    plain = [run(subject(name), 10.0, variant) for variant, name in enumerate(("a", "b"))]
    known = [replace(one, subject=replace(one.subject, accuracy={"artifact": {"top1": 0.9}})) for one in plain]
    published = {"a": 81.3, "b": 82.3}

    def drawn(runs: list[results.ArtifactTiming], figures: dict[str, float]) -> str:
        document = compose([result(tuple(runs))], figures)
        (section,) = [part for part in document.sections if part.title.startswith("Speed")]
        return section.blocks[0].title  # type: ignore[union-attr]

    assert drawn(known, published) == "Median latency and measured top-1 accuracy"
    assert drawn(plain, published) == "Median latency and published ImageNet top-1 accuracy"
    assert drawn(plain, {}) == "Median latency and size of the artifact"
    of_ten = [replace(one, subject=replace(one.subject, classes=10)) for one in plain]
    assert drawn(of_ten, published) == "Median latency and size of the artifact"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected a result of `slide-export bench`"),
        ("not json", "expected a result of `slide-export bench`"),
        (results.to_json(result(())), "expected a result whose parts fit together"),
    ],
)
def test_a_malformed_result_is_one_sentence_exit_2_and_no_page(
    content: str, message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text(content)
    assert cli.run(["report", str(tmp_path / "x.json"), "-o", str(tmp_path / "r.html")]) == 2
    assert capfd.readouterr().err.startswith(f"error: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_the_verb_writes_both_and_prints_their_paths(sources: list[Path], capfd: pytest.CaptureFixture[str]) -> None:
    outs = [str(sources[0].parent / name) for name in ("r.html", "r.md")]
    assert cli.run(["report", *map(str, sources), "-o", outs[0], "-o", outs[1]]) == 0
    assert capfd.readouterr().out.split() == outs
    assert all(Path(out).is_file() for out in outs)


def test_bad_requests_are_refused_before_anything_is_written(sources: list[Path]) -> None:
    place = sources[0].parent
    with pytest.raises(RequestError, match=r"ends in \.html or \.md"):
        write.reports(sources, [place / "r.html", place / "r.pdf"])
    with pytest.raises(RequestError, match="each result once"):
        write.reports([sources[0], sources[0]], [place / "r.html"])
    with pytest.raises(RequestError, match="expected to write"):
        write.reports(sources, [sources[0] / "r.html"])
    assert sorted(path.name for path in place.iterdir()) == ["a.json", "b.json"]
