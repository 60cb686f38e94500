"""IRs of a few layers, made with OpenVINO's own builder."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino
from openvino import opset13 as ops

CPU: dict[str, Any] = {"device": "CPU", "config": {"INFERENCE_PRECISION_HINT": "f32"}}


def parameter(*sides: int, name: str = "x") -> Any:
    made = ops.parameter(list(sides), np.float32, name=name)
    made.output(0).get_tensor().set_names({name})
    return made


def constant(values: Any, kind: Any = np.float32, name: str = "w") -> Any:
    return ops.constant(np.asarray(values, kind), name=name)


def saved(result: Any, inputs: list[Any], folder: Path, *, half: bool = False) -> Path:
    """The IR of what gives a result, without a change of its own unless it is stored in float16."""
    result.output(0).get_tensor().set_names({"y"})
    openvino.save_model(openvino.Model([result], inputs), folder / "model.xml", compress_to_fp16=half)
    return folder / "model.xml"


def product(folder: Path, *, batch: int = 1, half: bool = False) -> Path:
    """y [batch, 2] of x [batch, 3]; a product with a bias, `head.weight` and `head.bias`."""
    x = parameter(batch, 3)
    y = ops.matmul(x, constant(np.arange(6).reshape(3, 2), name="head.weight"), False, False, name="/head/MatMul")
    return saved(ops.add(y, constant([1, 2], name="head.bias"), name="/head/Add"), [x], folder, half=half)
