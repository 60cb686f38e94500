"""Every planted fault is refused at its named size, and what has none is not."""

import pytest

from .planted import NothingToAlterError
from .planting import FAULTS, Cell, Exports, Fault, here, smallest

FAST = [("onnx", "fp32"), ("onnx", "fp16"), ("onnx", "int8")]
REST = [pytest.param(*column, marks=pytest.mark.slow) for column in here() if column not in FAST]
ONE_STEP = "one weight off"
HALF_ALONE = ("overflow in one module", "float32 hidden in float16")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return Exports(tmp_path_factory.mktemp("planting"))


@pytest.mark.parametrize(("target", "precision"), [*FAST, *REST])
def test_what_has_no_fault_is_not_refused(exports: Exports, target: str, precision: str) -> None:
    assert exports.caught_by(None, 0, target, precision) == ""


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
@pytest.mark.parametrize(("target", "precision"), [*FAST, *REST])
def test_a_fault_of_the_named_size_is_refused(exports: Exports, fault: Fault, target: str, precision: str) -> None:
    try:
        check = exports.caught_by(fault, fault.named, target, precision)
    except NothingToAlterError:
        assert fault.name in HALF_ALONE
        return
    assert check != ""
    if fault.name == ONE_STEP and precision != "fp32":
        assert check == "stored values"  # a percent of one weight is below the noise floor of the outputs


def test_the_smallest_size_is_the_smallest_from_which_on_all_are_caught(
    exports: Exports, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[0]
    monkeypatch.setattr(exports, "caught_by", lambda _fault, size, *_: "parity" if size > fault.sizes[1] else "")
    assert smallest(exports, fault, "onnx", "fp32") == Cell(fault.sizes[2], "parity")
    monkeypatch.setattr(exports, "caught_by", lambda *_: "")
    assert smallest(exports, fault, "onnx", "fp32") == Cell(None, "")
