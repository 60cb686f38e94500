"""What an IR stores, by type and once a byte, and in what its products are computed."""

from pathlib import Path

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")

from openvino import opset13 as ops  # noqa: E402

from slide_export.backends.openvino import dtypes  # noqa: E402
from slide_export.backends.openvino.dtypes import computed_in, computed_types, dtype_stats  # noqa: E402
from slide_export.core.errors import BundleError  # noqa: E402

from .graphs import CPU, constant, parameter, product, saved  # noqa: E402  # after the skip


def test_bytes_are_counted_by_type(tmp_path: Path) -> None:
    found = dtype_stats(product(tmp_path), CPU)
    assert found.stored == {"float32": (6 + 2) * 4}
    assert (found.marked, found.fixed) == (0, False)
    assert dtype_stats(product(tmp_path, half=True), CPU).stored == {"float16": (6 + 2) * 2}


def test_constants_that_share_their_bytes_count_once(tmp_path: Path) -> None:
    x = parameter(1, 3)
    first = ops.multiply(x, constant([1, 2, 3], name="a"))
    path = saved(ops.add(first, constant([1, 2, 3], name="b")), [x], tmp_path)
    assert dtype_stats(path, CPU).stored == {"float32": 3 * 4}


@pytest.mark.parametrize(
    ("sides", "kind", "marked"),
    [((3, 2), np.int8, 1), ((3, 2), np.uint8, 1), ((3, 1), np.int8, 0), ((3, 2), np.int32, 0)],
)
def test_a_weight_in_8_bits_has_more_than_one_axis(
    sides: tuple[int, ...], kind: type[np.generic], marked: int, tmp_path: Path
) -> None:
    x = parameter(1, 3)
    weight = ops.convert(constant(np.ones(sides), kind), np.float32)
    assert dtypes._marked(saved(ops.matmul(x, weight, False, False), [x], tmp_path)) == marked


def test_a_layer_that_is_called_twice_has_two_products_with_8_bit_weights(tmp_path: Path) -> None:
    x, stored = parameter(1, 3), constant(np.ones((3, 3)), np.int8)
    weight = ops.multiply(ops.convert(stored, np.float32), constant(0.5, name="scale"))
    twice = ops.matmul(ops.relu(ops.matmul(x, weight, False, False)), weight, False, False)
    added = ops.add(twice, ops.convert(constant(np.ones((3, 3)), np.int8, name="table"), np.float32))
    assert dtypes._marked(saved(added, [x], tmp_path)) == 2


def test_types_have_numpys_names() -> None:
    counts = {"f32": 1, "bf16": 2, "i8": 3, "u8": 4, "boolean": 5, "f8e4m3": 6}
    assert dtypes._rename(counts) == {
        "float32": 1, "bfloat16": 2, "int8": 3, "uint8": 4, "boolean": 5, "float8e4m3": 6
    }  # fmt: skip


def test_activations_in_8_bits_are_one_type_with_a_sign_or_without() -> None:
    assert dtypes._integers({"int8": 1, "uint8": 2, "float32": 3}) == {"int8": 3, "float32": 3}


def test_products_are_counted_by_what_they_compute_in(tmp_path: Path) -> None:
    assert computed_in(product(tmp_path), CPU) == ("float32",)
    assert dtype_stats(product(tmp_path), CPU).computed == {"float32": 1}
    x = parameter(1, 3)
    assert computed_in(saved(ops.relu(x), [x], tmp_path), CPU) == ()


def test_a_device_that_does_not_tell_has_no_types(tmp_path: Path) -> None:
    class Silent:
        """A compiled model of a device that hides its graph."""

        def get_runtime_model(self) -> None:
            raise RuntimeError("not implemented")

    assert computed_types(openvino.Core().read_model(product(tmp_path)), Silent()) == {}


@pytest.mark.parametrize("content", [None, b"", b"<net", b"\x00"])
def test_a_file_that_is_no_ir_is_refused(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model.xml").write_bytes(content)
    with pytest.raises(BundleError, match="expected an OpenVINO IR at"):
        dtype_stats(tmp_path / "model.xml", CPU)
