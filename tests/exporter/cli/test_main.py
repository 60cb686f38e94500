"""The command line as a user meets it: real processes for exit codes and streams, the runner for the rest."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slide_export.benchmark import result_file as result
from slide_export.bundle.store import Bundle
from slide_export.cli import main as cli
from slide_export.core.errors import BackendUnavailable
from slide_export.core.measurement import BenchmarkResult, BenchProtocol, Environment
from tests import warm


def command(*arguments: str | Path, cwd: Path | None = None, cold: bool = False) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own; one that is `cold` imports everything itself."""
    words = ("-m", "slide_export", *map(str, arguments))
    line = [sys.executable, *words] if cold else warm.command(*words)
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, timeout=300, check=False)


@pytest.fixture(scope="module")
def exported(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    cwd = tmp_path_factory.mktemp("cwd")
    return cwd, command(checkpoint, "--target", "onnx", cwd=cwd, cold=True)


def test_export_needs_no_verb_and_prints_the_path_alone(
    exported: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    cwd, done = exported
    assert done.returncode == 0
    assert done.stdout == "exported/small-onnx-fp32\n"
    assert (cwd / "exported/small-onnx-fp32/model.onnx").is_file()
    assert "equal to the trained PyTorch model on 8 real images" in done.stderr
    assert "weights from 'model'" in done.stderr


def test_verify_repeats_the_proof(exported: tuple[Path, subprocess.CompletedProcess[str]], checkpoint: Path) -> None:
    cwd, _ = exported
    done = command("verify", "exported/small-onnx-fp32", "--against", checkpoint, "--json", cwd=cwd)
    assert done.returncode == 0
    assert json.loads(done.stdout)["passed"]


def test_a_failed_proof_exits_1(exported: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    import shutil

    import onnx

    from tests.bundles import restate

    bundle = shutil.copytree(exported[0] / "exported/small-onnx-fp32", tmp_path / "bundle")
    proto = onnx.load(bundle / "model.onnx")
    bias = next(item for item in proto.graph.initializer if item.name == "head.bias")
    bias.raw_data = bytes(len(bias.raw_data))
    onnx.save(proto, bundle / "model.onnx")
    restate(bundle)
    done = command("verify", bundle)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: expected logits within")


def test_verify_takes_globs_and_writes_for_ci(
    onnx_bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pattern, files = str(onnx_bundle.path.parent / "*"), (tmp_path / "ci" / "j.xml", tmp_path / "s.md")
    asked = ["verify", pattern, "absent", "--junit", str(files[0]), "--markdown", str(files[1])]
    assert cli.run(asked) == 2
    said = capfd.readouterr()
    assert said.out == f"{onnx_bundle.path}\n"
    assert "absent: expected a bundle" in said.err
    assert 'tests="2" failures="0" errors="1"' in files[0].read_text()
    assert "1 of 2 proved" in files[1].read_text()
    assert cli.run([*asked, "--json"]) == 2
    assert [one["exit_code"] for one in json.loads(capfd.readouterr().out)["bundles"]] == [0, 2]
    assert files[1].read_text().count("1 of 2 proved") == 2


@pytest.mark.parametrize("option", [("--junit", "."), ("--markdown", "file/x"), ("--eval", "images")])
def test_verify_refuses_a_request_before_any_work(
    option: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    monkeypatch.setattr("slide_export.verification.batch.prove_each", lambda *_: pytest.fail("it worked"))
    assert cli.run(["verify", "x", *option]) == 2


def test_inspect_json(checkpoint: Path) -> None:
    done = command("inspect", checkpoint, "--json")
    assert json.loads(done.stdout)["config"]["depths"] == [1, 2, 2, 1]


def test_bad_input_is_one_sentence_exit_2_and_no_output(tmp_path: Path) -> None:
    (tmp_path / "note.pth").write_text("not a checkpoint")
    done = command("note.pth", "--target", "onnx", cwd=tmp_path, cold=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("error:") == 1
    assert done.stderr.splitlines()[-1].startswith("error: expected a PyTorch checkpoint, note.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["note.pth"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x.pth", "--target", "abacus"), "expected a target of"),
        (("x.pth", "--target", "onnx", "--trt-flavor", "rtx"), "found 'flavor'"),
        (("x.pth", "--option", "flavor"), "expected --option NAME=VALUE"),
        (("x.pth", "--input-size", "big"), "expected a size like 224"),
        (("x.pth", "--input-size", "²"), "expected a size like 224"),
        (("x.pth", "--input-size", "100000"), "of at most 4096 pixels a side, found '100000'"),
        (("x.pth", "--mean", "127,127,127"), "expected --mean as three numbers of 0..1"),
        (("x.pth", "--batch", "0"), "0 is not in the range"),
        (("bench", "x", "--batch", "²"), "expected numbers like 1 or 1,8"),
        (("x.pth", "--labels", "absent.txt"), "expected a text file of class names"),
        (("x.pth", "--seed", "0"), "expected --seed with int8 or mixed, found it with fp32"),
        (("x.pth", "--calibration-size", "300"), "expected --calibration-size with int8, found it with fp32"),
        (("x.pth", "--mixed-base", "int8"), "expected --mixed-base with --precision mixed, found it with fp32"),
        (("verfy", "x"), "did you mean 'verify'?"),
        (("verify", "absent"), "expected a bundle"),
    ],
)
def test_bad_usage_exits_2(arguments: tuple[str, ...], message: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(list(arguments)) == 2
    assert message in capfd.readouterr().err


def test_a_missing_backend_exits_3(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def unavailable(*_: object, **__: object) -> None:
        raise BackendUnavailable("expected the runtime, found it not installed")

    monkeypatch.setattr(cli.api, "export", unavailable)
    assert cli.run(["x.pth", "--json"]) == 3
    assert json.loads(capfd.readouterr().out)["kind"] == "BackendUnavailable"


def test_an_own_fault_is_not_a_failed_proof(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(cli.api, "inspect", lambda *_, **__: 1 / 0)
    assert cli.run(["inspect", "x.pth"]) == 70
    assert "please report" in capfd.readouterr().err


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")]
)
def test_too_little_memory_is_one_sentence(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def inspect(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.api, "inspect", inspect)
    assert cli.run(["inspect", "x.pth"]) == 2
    said = capfd.readouterr().err
    assert "take a smaller --batch or --input-size, or a machine with more" in said
    assert "Traceback" not in said


def test_help_imports_no_torch() -> None:
    heavy = "[m for m in ('torch', 'onnx', 'rich', 'numpy') if m in sys.modules]"
    script = f"import sys, slide_export.cli.main as c; c.run(['--help']); print({heavy})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_targets_lists_onnx(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--json"]) == 0
    found = {target["target"]: target for target in json.loads(capfd.readouterr().out)}
    assert found["onnx"]["ready"]
    assert found["onnx"]["proves"] == "the artifact"


def test_variants_lists_one_family(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["variants", "--family", "slide_pvt", "--json"]) == 0
    first, *_ = json.loads(capfd.readouterr().out)
    assert (first["variant"], first["image_size"], first["counts"]["parameters"]) == (
        "slide_pvt_tiny",
        [224, 224],
        12_225_694,
    )
    assert cli.run(["variants", "--family", "resnet"]) == 2
    assert "expected a family of slide_swin" in capfd.readouterr().err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_name_the_program(
    shell: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("click.shell_completion.BashComplete._check_version", lambda _self=None: None)
    assert cli.run(["completion", shell]) == 0
    assert cli.COMPLETE in capfd.readouterr().out


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("slide-export, version ")


def test_interruption_is_said(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.api, "inspect", interrupt)
    assert cli.run(["inspect", "x.pth"]) == 130
    assert "nothing was written" in capfd.readouterr().err


def test_what_fails_while_an_interruption_is_cleaned_up_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise OSError("the pipe is closed")

    monkeypatch.setattr(cli.api, "inspect", interrupt)
    assert cli.run(["inspect", "x.pth"]) == cli.INTERRUPTED
    assert capfd.readouterr().err == "interrupted, and then: the pipe is closed\n"


def test_a_killed_export_leaves_nothing_half_done(checkpoint: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "slide_export", str(checkpoint), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not (tmp_path / "out").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert (
        not (tmp_path / "out" / "small-onnx-fp32").exists()
        or (tmp_path / "out" / "small-onnx-fp32" / "manifest.json").is_file()
    )


def test_bench_writes_its_result_and_prints_the_path_alone(onnx_bundle: Bundle, tmp_path: Path) -> None:
    options = ("--rounds", "1", "--calls", "1", "--threads", "1", "-o", tmp_path / "r.json")
    done = command("bench", onnx_bundle.path, onnx_bundle.path, *options)
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'r.json'}\n")
    assert "cannot tell" in done.stderr
    assert [run.batch for run in result.read(tmp_path / "r.json").runs] == [1, 1]


def test_bench_prints_json_for_machines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    protocol = BenchProtocol(1, 1, 1, ())
    found = BenchmarkResult("2026-01-01", Environment("lab", "", (), 1, 1, "", "", "", {}, 0.0), protocol, ())
    asked: dict[str, object] = {}
    monkeypatch.setattr(cli.api, "bench", lambda bundles, **options: asked.update(options) or found)
    assert cli.run(["bench", str(tmp_path), "--batch", "1,8,1", "--stand-in", "--json"]) == 0
    assert result.from_json(capsys.readouterr().out, "stdout") == found
    assert (asked["batches"], asked["stand_ins"], asked["rounds"]) == ((1, 8), True, 20)


@pytest.mark.parametrize(
    "arguments",
    [["bench"], ["bench", ".", "--batch", "0"], ["bench", ".", "--batch", "1;2"], ["bench", ".", "-o", "."]],
)
def test_bench_refuses_what_it_cannot_take(arguments: list[str]) -> None:
    assert cli.run(arguments) == 2


def test_help_keeps_its_examples_on_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["slide-export", "inspect", "ckpt.pt", "what", "is", "in", "the", "file"] in lines
