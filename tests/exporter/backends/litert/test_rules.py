"""Planted faults in a saved file: each is named by the linter, and refused after a conversion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

from slide_export import api
from slide_export.backends import litert
from slide_export.backends.litert import artifact, flatbuffer
from slide_export.core.errors import BundleError, LoweringError, RequestError


def _operators(model: Any, name: str) -> list[Any]:
    number = getattr(schema.BuiltinOperator, name)
    codes = [code.builtinCode for code in model.operatorCodes]
    return [one for one in model.subgraphs[0].operators if codes[one.opcodeIndex] == number]


def tanh(model: Any) -> None:
    """What a converter does that takes the erf form for its approximation."""
    _operators(model, "GELU")[0].builtinOptions.approximate = True


def custom(model: Any) -> None:
    """An operator that a converter could not express, left to TensorFlow."""
    code = schema.OperatorCodeT()
    code.builtinCode = schema.BuiltinOperator.CUSTOM
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"FlexErf"
    model.operatorCodes.append(code)
    gelu = _operators(model, "GELU")[0]
    gelu.opcodeIndex, gelu.builtinOptions, gelu.builtinOptionsType = len(model.operatorCodes) - 1, None, 0


def dynamic(model: Any) -> None:
    """A batch that nobody fixed."""
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].shape = [-1, 3, 64, 64]


def integer_input(model: Any) -> None:
    """What `static_wi8_ai8` of the quantizer does to inputs and outputs."""
    graph = model.subgraphs[0]
    ends = graph.tensors[graph.outputs[0]]
    ends.type, ends.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
    ends.quantization.scale, ends.quantization.zeroPoint = [0.1], [3]


def integer_softmax(model: Any) -> None:
    """What it does to attention."""
    graph = model.subgraphs[0]
    graph.tensors[_operators(model, "SOFTMAX")[0].inputs[0]].type = schema.TensorType.INT8


PLANTED: dict[str, tuple[Callable[[Any], None], str, str]] = {
    "gelu-tanh": (tanh, "error", "GELU by its tanh approximation"),
    "custom-operator": (custom, "error", "the operator FlexErf"),
    "dynamic-shape": (dynamic, "error", "images of shape"),
    "quantized-ends": (integer_input, "warning", "logits in int8 with a scale"),
    "quantized-softmax": (integer_softmax, "warning", "a softmax in int8"),
}


def planted(bundle: Path, plant: Callable[[Any], None]) -> bytes:
    model = flatbuffer.parsed((bundle / "model.tflite").read_bytes())
    plant(model)
    return flatbuffer.written(model)


@pytest.mark.parametrize("rule", PLANTED)
def test_a_planted_fault_is_found_and_nothing_else(rule: str, digits_bundle: Path, tmp_path: Path) -> None:
    plant, severity, words = PLANTED[rule]
    path = tmp_path / "model.tflite"
    path.write_bytes(planted(digits_bundle, plant))
    (finding,) = api.lint(path)
    assert (finding.rule, finding.severity, finding.targets) == (rule, severity, ("litert",))
    assert words in finding.found
    if rule in ("gelu-tanh", "custom-operator"):
        assert finding.module == "layers.0.blocks.0.mlp"


@pytest.mark.parametrize("rule", PLANTED)
def test_a_converted_file_with_an_error_is_refused(rule: str, digits_bundle: Path) -> None:
    plant, severity, words = PLANTED[rule]
    graph = flatbuffer.parse(planted(digits_bundle, plant))
    if severity == "warning":
        artifact._check(graph)
        return
    with pytest.raises(LoweringError, match=words):
        artifact._check(graph)


def test_the_digits_file_has_no_fault(digits_bundle: Path) -> None:
    assert litert.lint_artifact(digits_bundle / "model.tflite") == ()
    assert api.lint(digits_bundle) == ()
    assert litert.is_artifact(digits_bundle / "model.tflite")
    assert not litert.is_artifact(digits_bundle / "manifest.json")
    assert not litert.is_artifact(digits_bundle)


def test_a_file_with_an_operator_that_nobody_has_does_not_load(digits_bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(planted(digits_bundle, custom))
    with pytest.raises(BundleError, match=r"expected a \.tflite file that LiteRT can load"):
        litert.Session(path, {"delegate": "none"})


def test_the_tanh_form_is_another_function(digits_bundle: Path, tmp_path: Path) -> None:
    """The rule is needed: the file loads and runs, and a narrow model's error is easily overlooked."""
    import numpy as np

    path = tmp_path / "model.tflite"
    path.write_bytes(planted(digits_bundle, tanh))
    images = np.random.default_rng(0).standard_normal((1, 3, 64, 64)).astype(np.float32)
    exact = litert.Session(digits_bundle / "model.tflite", {"delegate": "xnnpack"}).run({"images": images})["logits"]
    found = litert.Session(path, {"delegate": "xnnpack"}).run({"images": images})["logits"]
    assert 1e-5 < np.abs(found - exact).max() / np.abs(exact).max() < 1e-1  # erf: 1e-6


@pytest.mark.parametrize("shape", [(2, 3, 64, 64), (1, 3, 64, 96), (3, 64, 64)])
def test_another_batch_or_size_is_refused_by_name(digits_bundle: Path, shape: tuple[int, ...]) -> None:
    import numpy as np

    session = litert.Session(digits_bundle / "model.tflite", {"delegate": "xnnpack"})
    with pytest.raises(RequestError, match=r"expected the inputs images float32\[1, 3, 64, 64\], found images float32"):
        session.run({"images": np.zeros(shape, np.float32)})
    with pytest.raises(RequestError, match="found images float64"):
        session.run({"images": np.zeros((1, 3, 64, 64))})
    with pytest.raises(RequestError, match="found none"):
        session.run({})
