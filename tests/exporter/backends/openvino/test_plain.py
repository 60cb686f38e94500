"""What a load of the file alone computes in, and which batch it takes."""

from pathlib import Path

import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed")

from slide_export.backends.openvino import plain
from slide_export.backends.openvino.plain import HARDWARE, capabilities, capable, plain_load

from .graphs import CPU, product

PROVED = ("float32",)


def test_the_hint_that_was_proved_with_is_what_to_set(tmp_path: Path) -> None:
    found = plain_load(product(tmp_path), {**CPU, "config": {**CPU["config"], "CACHE_DIR": "somewhere"}}, PROVED)
    assert found.options == {"INFERENCE_PRECISION_HINT": "f32"}
    assert found.settings["config"] == {}  # neither the hint nor a cache
    assert (found.same, found.call) == (False, 'core.compile_model("model.xml", "CPU")')


def test_a_device_without_other_arithmetic_computes_what_was_proved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain, "capabilities", lambda _device: ("FP32", "INT8", "BIN"))
    assert not capable("CPU")
    assert plain_load(product(tmp_path), CPU, ("told",)).computed == ("told",)


@pytest.mark.parametrize("name", sorted(HARDWARE))
def test_a_device_with_it_is_compiled_to_see(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain, "capabilities", lambda _device: ("FP32", name))
    assert capable("CPU")
    assert "told" not in plain_load(product(tmp_path), CPU, ("told",)).computed


def test_a_device_tells_its_arithmetic_unless_it_stands_for_others() -> None:
    assert "FP32" in capabilities("CPU")
    assert set(capabilities("NOWHERE")) == HARDWARE


def test_a_library_is_added_before_the_file_is_read(tmp_path: Path) -> None:
    assert "after" not in plain_load(product(tmp_path), CPU, PROVED).call
    call = plain.own_operator.call("slide_attention.so")
    assert call == 'core.add_extension("slide_attention.so")'


@pytest.mark.parametrize(
    ("batch", "static", "said"),
    [
        (1, [1], "it takes batch 1, and N after model.reshape([N, 3]), -1 for any"),
        (2, [1], "it takes batch 2, and N after model.reshape([N, 3]), -1 for any"),
        (1, [], ""),  # the export fixed it
        (-1, [1], ""),
    ],
)
def test_another_batch_is_had_where_the_settings_name_some(
    batch: int, static: list[int], said: str, tmp_path: Path
) -> None:
    settings = {**CPU, "static_batches": static}
    assert plain._batch(product(tmp_path, batch=batch), settings) == said
