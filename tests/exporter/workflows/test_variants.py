"""Variants exported, and measured in one session for each target, with small models under the variants' names."""

import tempfile
from pathlib import Path

import pytest
import torch

from slide_export.backends import optional
from slide_export.backends import registry as backends
from slide_export.benchmark import result_file as results
from slide_export.benchmark.plan import BenchPlan
from slide_export.checkpoint.load import load_checkpoint
from slide_export.cli import main as cli
from slide_export.core.errors import BackendUnavailable, ParityError, RequestError
from slide_export.core.measurement import BenchmarkResult
from slide_export.inference.forms import FORMS
from slide_export.models import im2col_swin, slide_swin, swin
from slide_export.workflows import variants as compare
from tests.conftest import SMALL

SLIDE, IM2COL = "slide_swin_tiny", "im2col_swin_tiny"

BEST = backends.default_form("onnx")


def shrink(patch: pytest.MonkeyPatch) -> None:
    """Makes small models of the tiny variants; everything else is real."""
    for family in (slide_swin, im2col_swin):
        patch.setitem(family.VARIANTS, f"{family.FAMILY.name}_tiny", SMALL)
    patch.setitem(swin.VARIANTS, "swin_tiny", swin.resize(swin.VARIANTS["swin_tiny"].at((64, 64)), SMALL))


@pytest.fixture(scope="module")
def compared(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, tuple[str, ...], tuple[Path, ...]]:
    """Directory of the files, lines on standard output, and what was left in the scratch directory."""
    directory, scratch = tmp_path_factory.mktemp("compared"), tmp_path_factory.mktemp("scratch")
    printed: list[str] = []
    line = ["compare", "--variants", f"{IM2COL},{SLIDE}", "--checkpoint", f"{SLIDE}={checkpoint}"]
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        patch.setattr(tempfile, "tempdir", str(scratch))
        patch.setattr(cli.click, "echo", lambda said="", **_: printed.append(str(said)))
        code = cli.run([*line, "--rounds", "6", "--calls", "2", "--threads", "1", "-o", str(directory / "out")])
    assert code == 0, printed
    return directory / "out", tuple(printed), tuple(scratch.glob("slide-export-compare-*"))


@pytest.fixture(scope="module")
def measured(compared: tuple[Path, tuple[str, ...], tuple[Path, ...]]) -> BenchmarkResult:
    return results.read(compared[0] / "onnx.json")


def test_paths_alone_are_printed_and_nothing_else_stays(
    compared: tuple[Path, tuple[str, ...], tuple[Path, ...]],
) -> None:
    out, printed, left = compared
    assert printed == ("\n".join(str(out / name) for name in ("onnx.json", "report.html", "report.md")),)
    assert sorted(path.name for path in out.iterdir()) == ["onnx.json", "report.html", "report.md"]
    assert left == ()


def test_each_variant_was_proved_and_says_what_its_weights_are(measured: BenchmarkResult) -> None:
    assert [run.subject.name for run in measured.runs] == [IM2COL, SLIDE]
    assert [run.subject.weights for run in measured.runs] == ["random", "trained"]
    assert [run.subject.lowering for run in measured.runs] == ["", BEST]
    assert all(run.subject.parity and run.subject.parity["passed"] for run in measured.runs)


def test_one_session_compares_the_variants(measured: BenchmarkResult) -> None:
    assert [len(run.rounds_ms) for run in measured.runs] == [6, 6]
    (found,) = measured.comparisons
    assert (found.a, found.b) == (1, 0)
    assert found.ratio.low <= found.ratio.value <= found.ratio.high


def test_the_page_has_the_measured_numbers(
    compared: tuple[Path, tuple[str, ...], tuple[Path, ...]], measured: BenchmarkResult
) -> None:
    text = (compared[0] / "report.md").read_text()
    assert all(f"{run.p50_ms.value:.2f} " in text for run in measured.runs)
    assert f"Random weights**: {IM2COL}." in text


def test_results_are_not_written_over_unasked(
    compared: tuple[Path, tuple[str, ...], tuple[Path, ...]], capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["compare", "--variants", SLIDE, "-o", str(compared[0])]) == 2
    assert "onnx.json exists: add --overwrite" in capfd.readouterr().err


def test_a_wrong_artifact_is_not_measured_and_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, checkpoint: Path
) -> None:
    original = FORMS[BEST]

    def wrong(fused: object) -> object:
        form = original(fused)  # type: ignore[arg-type]
        form.proj.weight.data = form.proj.weight.data * 1.01  # type: ignore[union-attr, operator]
        return form

    shrink(monkeypatch)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setitem(FORMS, BEST, wrong)  # type: ignore[arg-type]
    with pytest.raises(ParityError, match="kept as") as refused:
        compare.compare(compare.CompareRequest((SLIDE,), checkpoints={SLIDE: checkpoint}, plan=BenchPlan(rounds=1)))
    assert Path(str(refused.value).rsplit("kept as ", 1)[1].partition(";")[0]).is_dir()


def test_random_weights_are_the_same_every_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)
    first, again = (load_checkpoint(compare._random(SLIDE, tmp_path)).module.state_dict() for _ in range(2))
    assert first.keys() == again.keys()
    assert all(torch.equal(value, again[key]) for key, value in first.items())


REFUSED = [
    ({"variants": ()}, RequestError, "each variant once and at least one, found none"),
    ({"variants": (SLIDE, SLIDE)}, RequestError, "each variant once"),
    ({"variants": ("resnet50",)}, RequestError, "of im2col_swin_tiny, .*, nbnet; found 'resnet50'"),
    ({"targets": ("onnx", "onnx")}, RequestError, "each target once"),
    ({"targets": ("abacus",)}, RequestError, "expected a target of"),
    ({"precision": "fp8"}, RequestError, "expected a precision of"),
    ({"checkpoints": {"swin_tiny": Path("x")}}, RequestError, "found one of 'swin_tiny'"),
]


@pytest.mark.parametrize(("change", "error", "message"), REFUSED, ids=[str(next(iter(c[0].items()))) for c in REFUSED])
def test_a_comparison_that_cannot_be_made_is_refused_at_once(
    change: dict[str, object], error: type[Exception], message: str
) -> None:
    wanted = {"variants": (SLIDE,), **change}
    with pytest.raises(error, match=message):
        compare.refuse_unfit(compare.CompareRequest(**wanted))  # type: ignore[arg-type]


def test_a_target_that_cannot_run_here_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optional, "unavailable_reason", lambda backend: "no processor")
    with pytest.raises(BackendUnavailable, match="expected the variants to run on this machine, found no processor"):
        compare.refuse_unfit(compare.CompareRequest((SLIDE,)))


def test_im2col_is_refused_as_a_product(checkpoint: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run([str(checkpoint), "--variant", IM2COL, "--out", str(tmp_path)]) == 2
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith("error: expected a variant to export, found im2col_swin_tiny, a model for comparison only")
    assert list(tmp_path.iterdir()) == []
