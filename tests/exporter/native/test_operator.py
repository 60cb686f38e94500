"""The operator in each width of vectors, and under each runtime, is the function that the form has in float64."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from slide_export.backends.onnx import own_operator as under_onnx
from slide_export.backends.openvino import own_operator as under_openvino
from slide_export.inference.forms.native import attended
from slide_export.native import DOMAIN, LIBRARY, OPERATOR, library
from slide_export.native.schema import INPUTS
from tests.native import HEADERS, needs_a_compiler, needs_headers

SETS = {"avx512": 16, "avx2": 8, "plain": 4, "single": 1}
SHAPES = (  # images, rows, columns, heads, channels of a head, side, whether values have a kernel for each head
    (1, 5, 7, 2, 16, 3, False),
    (3, 9, 11, 3, 32, 3, True),
    (2, 4, 4, 1, 24, 3, False),
    (1, 6, 5, 2, 12, 5, True),
    (2, 3, 2, 2, 2, 3, False),
    (1, 8, 9, 2, 64, 7, False),
    (1, 1, 1, 1, 8, 3, False),
    (2, 60, 56, 2, 32, 3, False),  # several strips of rows
)
ROUNDING = 8  # times what PyTorch's float32 is off by: the operator sums in another order, its exponential is its own

SUMMED = 1e-4
"""What float32 sums of the rounded inputs may be off by, beside the rounding of the result."""

pytestmark = needs_a_compiler


def arrays(shape: tuple[int, ...]) -> list[np.ndarray]:
    """Random inputs of the operator."""
    images, rows, cols, heads, width, side, each = shape
    taps, kernels, draw = side * side, heads if each else 1, np.random.default_rng(rows * cols).standard_normal
    sizes = (
        (images, rows, cols, 3 * heads * width),
        (taps - 1, taps, width),
        (heads, taps - 1, width),
        (kernels, taps, taps, width),
        (kernels, taps, width),
    )
    return [draw(size, dtype=np.float32) * (1.0 if len(size) == 4 else 0.3) for size in sizes]


def expected(shape: tuple[int, ...], given: list[np.ndarray]) -> tuple[np.ndarray, float]:
    """The function in float64, and what it may differ by."""
    _, _, _, heads, _, side, _ = shape
    exact, rounded = (
        attended(*(torch.from_numpy(one).to(kind) for one in given), heads, side).numpy()
        for kind in (torch.float64, torch.float32)
    )
    return exact, ROUNDING * max(float(np.abs(rounded - exact).max()), 1e-7)


@pytest.fixture(scope="module")
def every_set(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The arithmetic alone, without a runtime."""
    target = tmp_path_factory.mktemp("sets") / "sets.so"
    include = f"-I{Path(library.__file__).parent}"
    source = Path(__file__).with_name("every_set.cpp")
    compiler = shutil.which(os.environ.get("CXX", "c++")) or "c++"
    subprocess.run([compiler, *library.FLAGS, include, str(source), "-o", str(target)], check=True)
    return ctypes.CDLL(str(target))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_width_of_vectors_computes_the_same(every_set: ctypes.CDLL, name: str, shape: tuple[int, ...]) -> None:
    given, pointer = arrays(shape), ctypes.POINTER(ctypes.c_float)
    exact, limit = expected(shape, given)
    out = np.full(exact.shape, np.nan, np.float32)
    fed = (pointer * len(given))(*(one.ctypes.data_as(pointer) for one in given))
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    refused = every_set.attend_with(name.encode(), sizes, fed, out.ctypes.data_as(pointer))
    if shape[4] % SETS[name]:
        assert refused  # its vectors do not fill a head's channels
    elif refused:
        pytest.skip(f"this processor has no {name}")
    else:
        assert np.abs(out - exact).max() < limit


@pytest.mark.parametrize("shape", [one for one in SHAPES if one[4] % 16 == 0], ids=str)
def test_pairs_of_bfloat16_compute_what_their_rounding_allows(every_set: ctypes.CDLL, shape: tuple[int, ...]) -> None:
    given = [torch.from_numpy(one) for one in arrays(shape)]
    halves = [one.bfloat16() if one.ndim == 4 or index == 1 else one for index, one in enumerate(given)]
    exact = attended(*(one.double() for one in halves), shape[3], shape[5])
    fed = [halves[0].view(torch.int16).numpy(), *(one.numpy() for one in given[1:])]
    out = torch.zeros(exact.shape, dtype=torch.int16).numpy()
    pointers = (ctypes.c_void_p * len(fed))(*(one.ctypes.data for one in fed))
    sizes = (ctypes.c_int64 * len(shape))(*shape)
    if every_set.attend_with(b"pairs", sizes, pointers, ctypes.c_void_p(out.ctypes.data)):
        pytest.skip("this processor has no AVX512_BF16")
    found = torch.from_numpy(out).view(torch.bfloat16).double()
    step = exact.abs() * 2**-8  # half of bfloat16's, of the result alone
    assert ((found - exact).abs() <= step + SUMMED).all()


def graph(shape: tuple[int, ...], given: list[np.ndarray]) -> onnx.ModelProto:
    """A graph of the operator alone, whose batch is dynamic."""
    _, rows, cols, heads, width, side, _ = shape
    node = helper.make_node(OPERATOR, INPUTS, ["out"], "/attn/own", domain=DOMAIN, heads=heads, kernel_size=side)
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", rows, cols, channels])
        for name, channels in (("qkv", 3 * heads * width), ("out", heads * width))
    ]
    weights = [numpy_helper.from_array(value, name) for name, value in zip(INPUTS[1:], given[1:], strict=True)]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(DOMAIN, 1)]
    return helper.make_model(
        helper.make_graph([node], "one", ends[:1], ends[1:], weights), opset_imports=opsets, ir_version=10
    )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_openvino_computes_it(shape: tuple[int, ...], tmp_path: Path) -> None:
    import openvino

    given = arrays(shape)
    exact, limit = expected(shape, given)
    library.put_beside(library.build(under_openvino.native_runtime({})), tmp_path)
    core = openvino.Core()
    under_openvino.register(core, tmp_path / "model.xml")
    onnx.save(graph(shape, given), tmp_path / "one.onnx")
    openvino.save_model(core.read_model(tmp_path / "one.onnx"), tmp_path / "model.xml", compress_to_fp16=False)
    compiled = core.compile_model(tmp_path / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for batch in (given[0], np.concatenate((given[0], given[0]))):
        (found,) = compiled(batch).values()
        assert np.abs(found[: len(exact)] - exact).max() < limit
        assert np.abs(found[-len(exact) :] - exact).max() < limit


@needs_headers
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_onnx_runtime_computes_it(shape: tuple[int, ...], tmp_path: Path) -> None:
    import onnxruntime

    given = arrays(shape)
    exact, limit = expected(shape, given)
    library.put_beside(library.build(under_onnx.native_runtime({under_onnx.HEADERS: str(HEADERS)})), tmp_path)
    options = onnxruntime.SessionOptions()
    under_onnx.register(options, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(graph(shape, given).SerializeToString(), options)
    for batch in (given[0], np.concatenate((given[0], given[0]))):
        (found,) = session.run(None, {"qkv": batch})
        assert np.abs(found[: len(exact)] - exact).max() < limit
        assert np.abs(found[-len(exact) :] - exact).max() < limit


@needs_headers
def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    import onnxruntime

    shape = SHAPES[0]
    given = arrays(shape)
    given[2] = given[2][:1]  # the bias of one head of two
    library.put_beside(library.build(under_onnx.native_runtime({under_onnx.HEADERS: str(HEADERS)})), tmp_path)
    options = onnxruntime.SessionOptions()
    under_onnx.register(options, tmp_path / LIBRARY)
    session = onnxruntime.InferenceSession(graph(shape, given).SerializeToString(), options)
    with pytest.raises(Exception, match="key_bias"):
        session.run(None, {"qkv": given[0]})
