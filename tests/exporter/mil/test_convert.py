"""What the converter must be kept from, and what it must keep: quiet terminals, equal bytes, names of modules."""

import importlib.util
import os
import subprocess
import sys
import tomllib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

if importlib.util.find_spec("coremltools") is None:  # importing it here would print what `quiet` has to keep back
    pytest.skip("coremltools is not installed", allow_module_level=True)

from slide_export.mil import Evaluator, MilError, Package  # after the skip
from slide_export.mil.convert import Form, no_progress, save

ROUNDING = 1e-6  # float32, of values near 1; both faults are at least a hundred times as large
ROOT = Path(__file__).parents[3]
TINY = Form(("x",), (3, 8, 8), (1,), False, ("y",), (), "fp32", "iOS16")
ALONE = """
import pathlib, sys, torch
from tests.exporter.mil.test_convert import TINY, Wrapped
from slide_export.mil.convert import save
save(Wrapped(), pathlib.Path(sys.argv[1]), TINY, {"key": "value"})
"""


class Lists(nn.Module):
    """Two lists of layers side by side: TorchScript calls both firsts `0`."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.ModuleList([nn.Conv2d(3, 3, 1)])
        self.right = nn.ModuleList([nn.Conv2d(3, 3, 1)])
        self.act = nn.Sequential(nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.left[0](x) * self.right[0](x))


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.module = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ModuleDict({"inner": Lists()})["inner"])
        with torch.no_grad():
            for value in self.parameters():
                value.copy_(torch.rand(value.shape, generator=generator))

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.module(x),)


class Clamped(nn.Module):
    """A bound below and none above, as the forms of slide attention take from their exponents."""

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (x.clamp(min=0.25),)


def test_a_clip_without_an_upper_bound_is_no_warning_in_float16(tmp_path: Path) -> None:
    half = replace(TINY, precision="fp16")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        save(Clamped(), tmp_path / "a.mlpackage", half, {})
    assert [str(one.message) for one in said if issubclass(one.category, RuntimeWarning)] == []
    given = np.float32([-1, 0.5, 3, 1000]).repeat(48).reshape(1, 3, 8, 8)
    (found,) = Evaluator(Package.read(tmp_path / "a.mlpackage")).run({"x": given}).values()
    assert np.array_equal(found, given.clip(0.25))  # all four are float16 numbers


def test_operations_have_the_names_of_their_modules(tmp_path: Path) -> None:
    names = save(Wrapped(), tmp_path / "a.mlpackage", TINY, {})
    operations = [item for item in Package.read(tmp_path / "a.mlpackage").operations() if not item.is_constant]
    found = [(item.type, names[item.name]) for item in operations]
    # `left.0` and `right.0` look alike to TorchScript, so both are the module around them.
    assert found == [("conv", "0"), ("conv", "1"), ("conv", "1"), ("mul", "1"), ("gelu", "1.act.0")]


def test_another_process_writes_the_same_bytes_and_prints_nothing(tmp_path: Path) -> None:
    save(Wrapped(), tmp_path / "a.mlpackage", TINY, {"key": "value"})
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-c", ALONE, str(tmp_path / "b.mlpackage")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    here, there = (
        {
            str(file.relative_to(tmp_path / name)): file.read_bytes()
            for file in (tmp_path / name).rglob("*")
            if file.is_file()
        }
        for name in ("a.mlpackage", "b.mlpackage")
    )
    assert len(here) == 3
    assert here == there
    assert (done.stdout, done.stderr) == ("", "")


def test_conversion_is_quiet_and_restores_the_logger(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import logging

    before = logging.getLogger("coremltools").level
    save(Wrapped(), tmp_path / "a.mlpackage", TINY, {})
    assert logging.getLogger("coremltools").level == before
    assert capfd.readouterr() == ("", "")


def test_the_reason_of_a_failure_is_told(tmp_path: Path) -> None:
    class Bicubic(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (functional.interpolate(x, scale_factor=2, mode="bicubic"),)

    with pytest.raises(MilError, match=r"cannot convert the model: .*bicubic"):
        save(Bicubic(), tmp_path / "a.mlpackage", TINY, {})


class TanhGelu(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (functional.gelu(x, approximate="tanh"),)


class Scaled(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (torch.sub(x, x * x, alpha=1 + x.shape[0]),)  # a factor that coremltools sees as alpha


def error(module: nn.Module, path: Path, x: Tensor) -> float:
    found = Evaluator(Package.read(path)).run({"x": x.numpy()})["y"]
    return float(np.abs(found - module(x)[0].numpy()).max())


def by_export(module: nn.Module, path: Path, x: Tensor) -> None:
    """Converts through the front end that this project does not use."""
    import coremltools as ct

    with no_progress(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch, when coremltools copies the program
        warnings.simplefilter("ignore", DeprecationWarning)  # coremltools, of itself
        program: Any = torch.export.export(module, (x,)).run_decompositions({})
        outputs = [ct.TensorType(name="y", dtype=np.float32)]
        ct.convert(
            program,
            convert_to="mlprogram",
            outputs=outputs,
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS16,
            skip_model_load=True,
            package_dir=str(path),
        )


@pytest.mark.parametrize("module", [TanhGelu(), Scaled()], ids=["gelu tanh", "alpha"])
def test_the_export_front_end_is_still_wrong(module: nn.Module, tmp_path: Path) -> None:
    """Fails when coremltools is mended: then `torch.jit.trace`, which PyTorch calls deprecated, can go."""
    x = torch.linspace(-3, 3, 3 * 8 * 8).reshape(1, 3, 8, 8)
    by_export(module, tmp_path / "export.mlpackage", x)
    assert error(module, tmp_path / "export.mlpackage", x) > 100 * ROUNDING


def test_the_trace_front_end_computes_gelu_tanh(tmp_path: Path) -> None:
    x = torch.linspace(-3, 3, 3 * 8 * 8).reshape(1, 3, 8, 8)
    save(TanhGelu(), tmp_path / "trace.mlpackage", TINY, {})
    assert error(TanhGelu(), tmp_path / "trace.mlpackage", x) < ROUNDING


def test_a_scale_and_a_shift_per_channel_stay_exact(tmp_path: Path) -> None:
    class Affine(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (x * torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1) + torch.ones(1, 3, 1, 1),)

    save(Affine(), tmp_path / "a.mlpackage", TINY, {})
    assert error(Affine(), tmp_path / "a.mlpackage", torch.rand(1, 3, 8, 8)) < ROUNDING


def test_numpy_that_breaks_tracing_is_excluded() -> None:
    """With numpy 2.4 coremltools 9.0 cannot take the size of a traced tensor (apple/coremltools issue 2633)."""
    from packaging.requirements import Requirement

    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (pin,) = (item for item in map(Requirement, stated) if item.name == "numpy")
    assert pin.specifier.contains(np.__version__)
    assert not pin.specifier.contains("2.4.0")


def test_a_size_in_arithmetic_converts(tmp_path: Path) -> None:
    class Sized(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            _, channels, rows, cols = x.shape
            return (x.reshape(-1, channels * rows // 4, 4 * cols),)

    save(Sized(), tmp_path / "a.mlpackage", TINY, {})
    assert error(Sized(), tmp_path / "a.mlpackage", torch.rand(1, 3, 8, 8)) == 0
