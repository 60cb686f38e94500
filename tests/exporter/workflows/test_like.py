"""The options of a bundle, taken for a retrained checkpoint."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import slide_export
from slide_export.bundle import store
from slide_export.bundle.store import Bundle
from slide_export.calibration.images import bundled
from slide_export.cli import main as cli
from slide_export.core.errors import RequestError
from slide_export.workflows.like import options_like

LABELS = tuple(f"digit {number}" for number in range(10))
HEAD = "head"


@pytest.fixture(scope="module")
def made(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return slide_export.export(
        checkpoint,
        "onnx",
        out=tmp_path_factory.mktemp("like"),
        precision="fp16",
        form="taps",
        batch=2,
        image_count=3,
        input_size=(96, 96),
        mean=(0.4, 0.5, 0.6),
        resize=(96, 96),
        embed_preprocessing=True,
        softmax=True,
        labels=LABELS,
        keep_fp32=(HEAD,),
        variant=None,
    )


@pytest.fixture(scope="module")
def retrained(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = torch.load(checkpoint)["model"]
    generator = torch.Generator().manual_seed(7)
    for name, value in state.items():
        if value.is_floating_point() and not name.endswith("dep_conv.weight"):
            value += 0.02 * torch.randn(value.shape, generator=generator)
    path = tmp_path_factory.mktemp("retrained") / "better.pth"
    torch.save({"model": state}, path)
    return path


def test_a_retrained_checkpoint_gets_every_option(made: Bundle, retrained: Path, tmp_path: Path) -> None:
    again = slide_export.export(retrained, like=made.path, out=tmp_path)
    new, old = again.manifest, made.manifest
    assert again.path.name == "better-onnx-fp16"
    assert (new.preprocessing.mean, new.preprocessing.resize) == ((0.4, 0.5, 0.6), (96, 96))
    assert [
        (one.name, one.option) for one in new.assumptions if one.option.startswith("--") and "=" not in one.option
    ] == [
        ("std", "--std"),
        ("interpolation", "--interpolation"),
    ]
    assert new.options == old.options
    assert (new.target, new.precision, new.labels, new.preprocessing) == (
        *(old.target, old.precision, old.labels, old.preprocessing),
    )
    assert (new.model, new.inputs, new.outputs) == (old.model, old.inputs, old.outputs)
    assert new.checkpoint.sha256 != old.checkpoint.sha256
    assert new.parity.images == 3
    assert new.parity.passed


def test_what_is_given_wins(made: Bundle, retrained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    asked = ["export", str(retrained), "--like", str(made.path), "--out", str(tmp_path), "--batch", "1"]
    assert cli.run([*asked, "--precision", "fp32", "--form", "auto"]) == 0
    assert capfd.readouterr().out == f"{tmp_path / 'better-onnx-fp32'}\n"
    options = store.read(tmp_path / "better-onnx-fp32").manifest.options
    assert (options.batch, options.softmax, options.keep_fp32) == (1, True, ())  # nothing is kept in fp32


def test_another_target_leaves_out_what_it_does_not_understand(made: Bundle) -> None:
    target, options = options_like(made, "openvino", {})
    assert target == "openvino"
    assert options.keys() & {"form", "options", "quantization_recipe"} == set()
    assert options["batch"] == 2
    target, options = options_like(made, None, {"options": {"opset": "17"}})
    assert (target, options["form"], options["options"]["opset"]) == ("onnx", "taps", "17")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Corners of the bundled photographs, different ones each."""
    root, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    photographs = [Image.open(file).convert("RGB") for file in bundled().files]
    for index in range(24):
        whole = photographs[index % len(photographs)]
        left, top = (int(rng.integers(0, size - 150)) for size in whole.size)
        whole.crop((left, top, left + 150, top + 150)).save(root / f"{index}.png")
    return root


def test_images_that_no_manifest_holds_have_to_be_given(
    checkpoint: Path, retrained: Path, tmp_path: Path, pictures: Path
) -> None:
    made = slide_export.export(
        checkpoint, "onnx", out=tmp_path, precision="int8", images=pictures, image_count=2, calibration_size=16, seed=3
    )
    with pytest.raises(RequestError, match=r"expected images: .* was calibrated on [0-9]+ images"):
        slide_export.export(retrained, like=made, out=tmp_path)
    again = slide_export.export(retrained, like=made, out=tmp_path, images=pictures)
    assert again.manifest.options == made.manifest.options
    assert (again.manifest.options.calibration_size, again.manifest.options.seed) == (16, 3)
    assert (again.path / "quantization.yaml").read_text().splitlines()[1:] == (
        (made.path / "quantization.yaml").read_text().splitlines()[1:]
    )
