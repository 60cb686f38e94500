"""The pieces of a saved program: headers of its parts, endless numbers, scales of its constants."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("executorch", reason="executorch is not installed")

from slide_export.backends.executorch.program import (
    ENDLESS,
    MAGIC,
    Constant,
    Part,
    SavedProgram,
    _of_norms,
    _outside,
    _span,
    _steps,
    read_program,
)
from slide_export.core.errors import BundleError


def test_a_part_tells_where_its_graph_and_its_constants_are() -> None:
    numbers = (30).to_bytes(4, "little") + (100).to_bytes(4, "little") + (130).to_bytes(4, "little")
    blob = b"\0\0\0\0" + MAGIC + b"\0\0" + numbers + (7).to_bytes(8, "little")
    assert _span(blob, 10) == (30, 100)
    assert _span(blob, 18) == (130, 7)
    with pytest.raises(ValueError, match="no header of XNNPACK"):
        _span(b"\0" * 32, 10)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b'{"a": inf}', b'{"a": Infinity}'),
        (b'{"a": -inf, "b": [+inf,inf ]}', b'{"a": -Infinity, "b": [+Infinity,Infinity ]}'),
        (b'{"info": "inf", "x": 1}', b'{"info": "inf", "x": 1}'),
    ],
)
def test_endless_numbers_are_made_readable(text: bytes, read: bytes) -> None:
    assert ENDLESS.sub(rb"\1Infinity", text) == read
    assert json.loads(read.replace(b"+", b""))


def stored(_index: int) -> tuple[str, bytes]:
    return "name", np.array([1.0, 2.0, 9.0], np.float32).tobytes()


def test_scales_are_of_a_tensor_or_along_an_axis() -> None:
    scale, zero = _steps("PerTensorQuant", {"scale": 0.5, "zero_point": 3}, (2, 4), stored)
    assert (scale.shape, float(scale), zero) == ((), 0.5, 3)
    scale, zero = _steps("PerChannelQuant", {"scale": [1.0, 2.0], "channel_dim": 1}, (3, 2), stored)
    assert (scale.tolist(), zero) == ([[1.0, 2.0]], 0)
    elsewhere = {"scale_buffer_idx": 1, "num_scales": 2, "channel_dim": 0}
    assert _steps("PerChannelQuant", elsewhere, (2, 1, 1), stored)[0].tolist() == [[[1.0]], [[2.0]]]
    with pytest.raises(ValueError, match="quantized by PerTokenDynamicQuant"):
        _steps("PerTokenDynamicQuant", {}, (2,), stored)


def call(index: int | None) -> Any:
    return SimpleNamespace(instr_args=SimpleNamespace() if index is None else SimpleNamespace(op_index=index))


def test_kernels_outside_are_counted_and_what_moves_sizes_is_none() -> None:
    names = ("aten::mean", "executorch_prim::et_view", "aten::sym_size", "own::op")
    plan = SimpleNamespace(
        operators=[SimpleNamespace(name=name) for name in names],
        chains=[SimpleNamespace(instructions=[call(0), call(1), call(None), call(0)]),
                SimpleNamespace(instructions=[call(2), call(3)])],
    )  # fmt: skip
    assert _outside(plan) == {"mean": 2, "own::op": 1}


def test_constants_of_norms_are_told_from_those_of_other_kernels() -> None:
    tensors = [SimpleNamespace(val=SimpleNamespace(data_buffer_idx=index)) for index in (0, 1, 2, 3)]  # 0: computed
    calls = [SimpleNamespace(op_index=0, args=[0, 1]), SimpleNamespace(op_index=1, args=[0, 2]), SimpleNamespace()]
    plan = SimpleNamespace(
        values=tensors,
        operators=[SimpleNamespace(name=name) for name in ("aten::native_layer_norm", "aten::add")],
        chains=[SimpleNamespace(instructions=[SimpleNamespace(instr_args=call) for call in calls])],
    )
    constants = {index: Constant(f"constant {index}", "float32", np.zeros(1)) for index in (1, 2)}
    assert _of_norms(plan, constants) == {"constant 1"}


def test_a_constant_of_several_parts_is_one() -> None:
    one, other = Constant("a", "float32", np.zeros(1)), Constant("a", "int8", np.zeros(1))
    program = SavedProgram((Part((), {}, {1: one}), Part((), {}, {4: one, 5: other})), {}, (one,))
    assert program.every_constant() == (one, other)


@pytest.mark.parametrize("content", [b"", b"no program", b"\x00" * 64])
def test_what_is_no_program_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.pte").write_bytes(content)
    with pytest.raises(BundleError, match=r"expected an ExecuTorch program for XNNPACK, model\.pte is none"):
        read_program(tmp_path / "model.pte")
