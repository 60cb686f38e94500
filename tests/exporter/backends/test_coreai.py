"""The saved asset is the model at every batch, the same bytes every time; float16 says that it was not proved."""

import asyncio
import copy
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("coreai", reason="coreai-core is not installed")
pytest.importorskip("coreai_torch", reason="coreai-torch is not installed")

from slide_export.backends import coreai as backend
from slide_export.backends.coreai import artifact as artifact_module
from slide_export.backends.coreai import asset as assets
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import Artifact, ModelIO
from slide_export.core.errors import BundleError, LoweringError, RequestError
from slide_export.core.model import Model
from slide_export.core.precision import FP16, FP32, precision_named
from slide_export.core.typed_json import FieldError
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import ServedModel, serve
from slide_export.models import family_of
from slide_export.models.swin import SwinConfig, SwinTransformer
from slide_export.proof.precision import satisfies
from slide_export.proof.stored import compare
from tests.conftest import randomise

FP32_ERROR = 5e-6  # of the largest output: goal of the saved file at full width, met by the study with a factor of 5
HALF_ERROR = 2e-2  # weights of 11 bits, of a model that is not trained
FILES = (assets.PROGRAM, assets.HASH, assets.METADATA)
TINY = SwinConfig(
    embed_dim=16, depths=(1, 1), heads=(1, 2), window=(4, 4), image_size=(32, 32), num_classes=10, slide_stages=1
)
"""A block of slide attention and one of window attention: what an export of seconds holds."""


@pytest.fixture(scope="module")
def tiny(model: Model) -> Model:
    torch.manual_seed(0)
    return replace(model, module=randomise(SwinTransformer(TINY)), config=TINY)


def lowered(source: ServedModel, place: Path, precision: str = "fp32") -> Artifact:
    place.mkdir(exist_ok=True)
    return backend.lower(source, place, LoweringOptions(precision_named(precision), source.io))


def in_form(model: Model, form: str, io: ModelIO) -> ServedModel:
    return serve(model, io).running(choose(fuse(model), form))


def images(count: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, 3, side, side), dtype=np.float32)


def answers(artifact: Artifact, fed: np.ndarray) -> np.ndarray:
    return backend.Session(artifact.path, artifact.settings).run({"images": fed})["logits"]


def error(artifact: Artifact, source: ServedModel, fed: np.ndarray) -> float:
    """Largest error against float64, of the largest output."""
    with torch.no_grad():
        exact = source.in_float64()(torch.from_numpy(fed).double())[0].numpy()
    return float(np.abs(answers(artifact, fed) - exact).max() / np.abs(exact).max())


@pytest.fixture(scope="module")
def dynamic(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, ServedModel]:
    source = in_form(tiny, "grouped", ModelIO())
    return lowered(source, tmp_path_factory.mktemp("dynamic")), source


@pytest.fixture(scope="module")
def fixed(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Artifact, ServedModel]:
    source = in_form(tiny, "grouped", ModelIO(batch=2))
    return lowered(source, tmp_path_factory.mktemp("fixed")), source


@pytest.fixture(scope="module")
def half(fixed: tuple[Artifact, ServedModel], tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return lowered(fixed[1], tmp_path_factory.mktemp("half"), "fp16")


@pytest.fixture
def copied(fixed: tuple[Artifact, ServedModel], tmp_path: Path) -> Path:
    return Path(shutil.copytree(fixed[0].path, tmp_path / "copy.aimodel"))


def test_it_is_the_model_at_every_batch(dynamic: tuple[Artifact, ServedModel]) -> None:
    artifact, source = dynamic
    assert [error(artifact, source, images(count)) < FP32_ERROR for count in (1, 2, 3, 8)] == [True] * 4
    assert artifact.settings["batch"] is None
    assert (artifact.inputs[0].name, artifact.inputs[0].shape) == ("images", ("batch", 3, 32, 32))
    assert (artifact.outputs[0].name, artifact.outputs[0].shape) == ("logits", ("batch", 10))


def test_a_fixed_batch_is_the_only_one_and_other_inputs_are_refused(fixed: tuple[Artifact, ServedModel]) -> None:
    artifact, source = fixed
    assert error(artifact, source, images(2)) < FP32_ERROR
    session = backend.Session(artifact.path, artifact.settings)
    with pytest.raises(RequestError, match="expected a batch of 2, found 1"):
        session.run({"images": images(1)})
    with pytest.raises(RequestError, match="expected the input images, found pictures"):
        session.run({"pictures": images(2)})
    with pytest.raises(BundleError, match="Core AI says: images has an invalid shape"):
        session.run({"images": images(2)[:, :2].copy()})


def test_a_session_runs_where_a_loop_runs_already(fixed: tuple[Artifact, ServedModel]) -> None:
    async def notebook() -> np.ndarray:
        return answers(fixed[0], images(2))

    np.testing.assert_array_equal(asyncio.run(notebook()), answers(fixed[0], images(2)))


def test_a_process_may_end_at_once_after_an_answer(fixed: tuple[Artifact, ServedModel]) -> None:
    """The runtime's threads come back to Python a moment later, and aborted five processes of eight."""
    code = (
        "import sys, numpy, pathlib; from slide_export.backends import coreai;"
        "session = coreai.Session(pathlib.Path(sys.argv[1]),"
        "{'inputs': ['images'], 'outputs': ['logits'], 'batch': 2, 'operations': 1});"
        "feeds = {'images': numpy.zeros((2, 3, 32, 32), 'float32')};"
        "[session.run(feeds) for _ in range(3)]; sys.exit(7)"
    )
    done = subprocess.run([sys.executable, "-c", code, fixed[0].path], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (7, b"")


def test_the_same_model_gives_the_same_bytes(fixed: tuple[Artifact, ServedModel], tmp_path: Path) -> None:
    artifact, source = fixed
    again = lowered(source, tmp_path)
    for name in FILES:
        assert (again.path / name).read_bytes() == (artifact.path / name).read_bytes(), name
    assert again.settings == artifact.settings


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(checkpoint: Path, tmp_path: Path) -> None:
    """Core AI seeds the names of its tensors by process."""
    for name in ("one", "two"):
        command = [sys.executable, "-m", "slide_export", checkpoint, "--target", "coreai", "--batch", "1", "--out"]
        subprocess.run([*command, tmp_path / name, "--image-count", "1"], check=True, capture_output=True)
    (one, two) = (next((tmp_path / name).glob("*/model.aimodel")) for name in ("one", "two"))
    assert [(one / name).read_bytes() == (two / name).read_bytes() for name in FILES] == [True] * 3


def test_it_says_nothing_of_the_time_and_the_machine(fixed: tuple[Artifact, ServedModel]) -> None:
    path = fixed[0].path
    assert json.loads((path / assets.METADATA).read_text()).keys() == {"assetVersion", "producer"}
    program = (path / assets.PROGRAM).read_bytes()
    assert not any(place.encode() in program for place in (str(Path.cwd()), str(Path.home()), sys.prefix, ".py"))


def test_what_it_stores_and_computes_is_counted(fixed: tuple[Artifact, ServedModel], half: Artifact) -> None:
    artifact, source = fixed
    full, halved = (backend.dtype_stats(one.path, one.settings) for one in (artifact, half))
    held = sum(value.numel() for value in source.module.state_dict().values() if value.is_floating_point())
    assert full.stored["float32"] == pytest.approx(4 * held, rel=0.2)  # biases of windows stand as tables
    assert halved.stored["float16"] == pytest.approx(2 * held, rel=0.2)
    assert full.computed.keys() == {"float32"}
    assert halved.computed.keys() == {"float16"}
    assert satisfies(full, FP32)
    assert satisfies(halved, FP16)
    assert not satisfies(halved, FP32)


def test_an_altered_weight_is_an_error(fixed: tuple[Artifact, ServedModel], tmp_path: Path) -> None:
    _, source = fixed
    module = copy.deepcopy(source.module)
    with torch.no_grad():
        next(layer for layer in module.modules() if isinstance(layer, nn.Linear)).weight[0] *= 1.01
    assert error(lowered(replace(source, module=module), tmp_path), source, images(2)) > 10 * FP32_ERROR


def test_half_is_near_in_float32_and_says_that_it_was_not_proved(
    fixed: tuple[Artifact, ServedModel], half: Artifact
) -> None:
    assert FP32_ERROR < error(half, fixed[1], images(2)) < HALF_ERROR
    assert "float16 is NOT proved here" in backend.Session(half.path, half.settings).evaluator
    assert "NOT" not in backend.Session(fixed[0].path, fixed[0].settings).evaluator
    told = backend.plain_load(half.path, half.settings, ("float16",))
    assert not told.same
    assert "float16, which was NOT proved here" in told.sentence
    assert backend.plain_load(fixed[0].path, fixed[0].settings, ("float32",)).same


def test_half_stores_the_float_builds_values_rounded_once(
    fixed: tuple[Artifact, ServedModel], half: Artifact, tmp_path: Path
) -> None:
    build, source = fixed
    report = compare(backend.stored(build.path, {}), backend.stored(half.path, {}))
    assert report.faults == ()
    assert report.tensors > 50
    module = copy.deepcopy(source.module)
    with torch.no_grad():
        next(layer for layer in module.modules() if isinstance(layer, nn.Linear)).weight[0, 0] += 0.01
    altered = lowered(replace(source, module=module), tmp_path, "fp16")
    faults = compare(backend.stored(build.path, {}), backend.stored(altered.path, {})).faults
    assert sorted(fault.why for fault in faults) == [
        "is in the artifact and not in the float build",
        "is in the float build and not in the artifact",
    ]


def served(model: Model, module: nn.Module) -> ServedModel:
    return serve(replace(model, module=module.eval()), ModelIO(batch=1))


def test_a_converter_that_ends_its_process_is_a_refusal(
    tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "convert.py"
    script.write_text("import os, sys; print('LLVM ERROR: a sum', file=sys.stderr, flush=True); os.abort()")
    monkeypatch.setattr(artifact_module, "SCRIPT", script)
    source = served(tiny, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
    with pytest.raises(LoweringError, match="it ended with signal 6: LLVM ERROR: a sum"):
        lowered(source, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_gelu_by_tanh_and_a_strided_bias_are_the_same_function(tiny: Model, tmp_path: Path) -> None:
    """What other runtimes get wrong without a word."""

    class Planted(nn.Module):
        """Attention with a transposed view as its bias, and an activation that is not the exact one."""

        bias: Tensor

        def __init__(self) -> None:
            super().__init__()
            table = torch.randn(256, 12, generator=torch.Generator().manual_seed(0))
            self.register_buffer("bias", table.view(16, 16, 12).permute(2, 0, 1)[None])
            self.qkv = nn.Linear(192, 3 * 48)
            self.act = nn.GELU(approximate="tanh")

        def forward(self, x: Tensor) -> Tensor:
            q, k, v = self.qkv(x.reshape(-1, 16, 192)).reshape(-1, 16, 3, 12, 4).permute(2, 0, 3, 1, 4).unbind(0)
            weights = (q @ k.transpose(-2, -1) + self.bias).softmax(-1)
            return self.act(weights @ v).mean(dim=(2, 3))

    source = served(tiny, randomise(Planted()))
    assert not source.module.bias.is_contiguous()
    assert error(lowered(source, tmp_path), source, images(1)) < FP32_ERROR


@pytest.mark.parametrize("name", FILES)
def test_a_part_of_an_asset_is_refused(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(BundleError, match=f"found copy.aimodel without {name}"):
        backend.Session(copied, {})


def test_a_program_that_is_not_its_hashs_is_refused(copied: Path, half: Artifact) -> None:
    shutil.copy(half.path / assets.PROGRAM, copied / assets.PROGRAM)
    with pytest.raises(BundleError, match=r"expected main\.mlirb to be what main\.hash says of it"):
        backend.Session(copied, {})


@pytest.mark.parametrize("kept", [0, 3, 100, -1])
def test_a_program_that_is_cut_off_is_refused(copied: Path, kept: int) -> None:
    program = copied / assets.PROGRAM
    program.write_bytes(program.read_bytes()[:kept])
    (copied / assets.HASH).write_bytes(assets.digest(program))
    with pytest.raises(BundleError, match="expected a program "):
        backend.Session(copied, {})


def test_an_open_batch_computes_shapes_and_a_fixed_one_few(
    dynamic: tuple[Artifact, ServedModel], fixed: tuple[Artifact, ServedModel]
) -> None:
    (found,) = backend.lint_artifact(dynamic[0].path)
    assert (found.rule, found.severity, found.confirmed) == ("coreai-computed-shapes", "hint", False)
    assert backend.lint_artifact(fixed[0].path) == ()
    assert backend.is_artifact(fixed[0].path)
    assert not backend.is_artifact(fixed[0].path.parent)


def test_settings_that_lower_never_writes_are_refused() -> None:
    good = {"inputs": ["images"], "outputs": ["logits"], "batch": None, "operations": 3}
    backend.refuse_settings(good, None)
    for wrong in ({**good, "path": "/etc/passwd"}, {**good, "batch": "8"}, {"inputs": []}):
        with pytest.raises(FieldError):
            backend.refuse_settings(wrong, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["slide_swin_tiny", "swin_tiny"])
def test_at_full_width_it_is_the_model(name: str, model: Model, tmp_path: Path) -> None:
    """Narrow models do not show what a runtime's kernels do to 768 channels."""
    known = family_of(name)
    torch.manual_seed(0)
    config = known.variants[name]
    full = replace(model, module=randomise(known.build(config)), config=config, family=known.name, variant=name)
    source = in_form(full, backend.DEFAULT_FORM, ModelIO(batch=1))
    assert error(lowered(source, tmp_path), source, images(1, 224)) < FP32_ERROR
