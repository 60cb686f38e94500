"""What a key holds of the machine is what exports do there, and is told without torch."""

import subprocess
import sys

import pytest

from slide_export.calibration import recipe
from slide_export.fleet import environment


def test_the_processor_is_told_as_torch_does() -> None:
    assert environment.overflows() == recipe.overflows()


@pytest.mark.parametrize("vnni", [True, False])
def test_products_overflow_without_vnni(vnni: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(environment, "flags", lambda: ("avx2", "avx_vnni") if vnni else ("avx2",))
    assert environment.overflows.__wrapped__() == (not vnni)
    monkeypatch.setattr(environment.platform, "machine", lambda: "aarch64")
    assert not environment.overflows.__wrapped__()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere torch is asked")
def test_planning_imports_no_torch() -> None:
    program = (
        "import sys; from slide_export.fleet import environment, sweep\n"
        "environment.of_target('onnx', quantized=True)\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
