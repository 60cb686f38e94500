"""Which devices are refused, how a batch chooses the model, and OpenVINO's messages in one line."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

from slide_export.backends.openvino import runtime
from slide_export.backends.openvino.runtime import compile_ir, read_ir, reason, unavailable_reason
from slide_export.core.errors import BackendUnavailable, BundleError, LoweringError

from .graphs import CPU, product

HERE = ["CPU", "GPU.0", "GPU.1"]


@pytest.mark.parametrize(
    "device", ["CPU", "GPU", "GPU.0", "AUTO", "AUTO:GPU,CPU", "BATCH:GPU(4)", "HETERO:GPU.1,CPU", "MULTI: CPU"]
)
def test_a_device_that_is_here_is_taken(device: str) -> None:
    runtime._refuse_absent(device, HERE)


@pytest.mark.parametrize(
    ("device", "absent"),
    [("NPU", "'NPU'"), ("AUTO:GPU,NPU", "'NPU'"), ("BATCH:NPU(4)", "'NPU'"), ("CPUS", "'CPUS'"), ("cpu", "'cpu'")],
)
def test_a_device_that_is_not_here_is_refused_with_those_that_are(device: str, absent: str) -> None:
    with pytest.raises(BackendUnavailable, match=rf"\(CPU, GPU\.0, GPU\.1\), found {absent}:"):
        runtime._refuse_absent(device, HERE)
    with pytest.raises(BackendUnavailable, match=r"\(none\)"):
        runtime._refuse_absent(device, [])


@pytest.mark.parametrize(
    ("static", "batch", "compiled"),
    [([1, 8], 8, "[8,3]"), ([1, 8], 1, "[1,3]"), ([1, 8], 2, "[?,3]"), ([1], None, "[?,3]"), ([], 8, "[2,3]")],
)
def test_a_batch_of_its_own_has_a_static_model(
    static: list[int], batch: int | None, compiled: str, tmp_path: Path
) -> None:
    model, _ = compile_ir(product(tmp_path, batch=2), {**CPU, "static_batches": static}, batch)
    assert str(model.inputs[0].get_partial_shape()) == compiled


@pytest.mark.parametrize(("settings", "threads"), [({}, None), ({"threads": 1}, 1)])
def test_threads_are_set_where_the_settings_say_how_many(
    settings: dict[str, Any], threads: int | None, tmp_path: Path
) -> None:
    _, compiled = compile_ir(product(tmp_path), {**CPU, **settings})
    assert threads is None or compiled.get_property("INFERENCE_NUM_THREADS") == threads


def test_values_inside_are_shown_by_layer_and_output(tmp_path: Path) -> None:
    _, compiled = compile_ir(product(tmp_path), CPU, shown=["/head/MatMul:0"])
    assert {name for port in compiled.outputs for name in port.get_names()} >= {"y", "/head/MatMul:0"}


def test_what_openvino_cannot_read_or_compile_is_said(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="OpenVINO cannot read"):
        read_ir(tmp_path / "absent.xml", CPU)
    with pytest.raises(LoweringError, match=r"to compile for CPU, OpenVINO says: .*NO_SUCH_KEY"):
        compile_ir(product(tmp_path), {"device": "CPU", "config": {"NO_SUCH_KEY": "1"}})


def test_a_message_is_one_line_without_places_in_openvinos_source() -> None:
    said = (
        "Exception from src/core.cpp:1:\nCheck 'a' failed at b.cpp:2:\n  what\n\nFrontEnd API failed in c\n is wrong "
    )
    assert reason(RuntimeError(said)) == "what is wrong"
    assert reason(RuntimeError("")) == ""


def test_the_cpu_is_available() -> None:
    assert unavailable_reason() is None
