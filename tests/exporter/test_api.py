"""The Python API has the command line's verbs."""

import subprocess
import sys
from pathlib import Path

import slide_export
from slide_export.cli import main as cli


def test_every_verb_is_a_function() -> None:
    verbs = set(cli.cli.commands) - {"completion", "doctor", "sweep"}  # of an extra: nothing else imports it
    assert all(callable(getattr(slide_export, verb)) for verb in verbs)
    assert all(callable(getattr(slide_export, name)) for name in slide_export.__all__)


def test_names_stay_functions_after_their_modules_are_imported() -> None:
    import slide_export.inference.fuse

    names = ", ".join(f"slide_export.{name}" for name in slide_export.__all__)
    script = f"import slide_export.workflows.export, slide_export.linter; assert all(map(callable, [{names}]))"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_export_inspect_verify(checkpoint: Path, tmp_path: Path) -> None:
    bundle = slide_export.export(checkpoint, "onnx", out=tmp_path, image_count=2)
    assert slide_export.verify(bundle.path, checkpoint).passed
    assert slide_export.inspect(checkpoint).family == "slide_swin"
    assert "onnx" in [target.target for target in slide_export.targets()]


def test_load_and_fuse(checkpoint: Path) -> None:
    fused = slide_export.fuse(slide_export.load_checkpoint(checkpoint))
    assert fused.trained.family == "slide_swin"
