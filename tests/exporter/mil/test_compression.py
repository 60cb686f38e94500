from typing import Any

import numpy as np

from slide_export.mil import Evaluator

ZERO = {"x": np.zeros((2, 4), np.float32)}


def specs(builder: Any) -> Any:
    return [builder.TensorSpec(shape=(2, 4))]


def test_the_ios16_generation(save: Any) -> None:
    """Operands stand in `attributes`, indices and masks are packed into bytes."""
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    data = np.array([[0, 1, 2, 3], [252, 253, 254, 255]], np.uint8)
    zero, scale = np.array([1, 255], np.uint8), np.array([0.5, 2.0], np.float32)
    table = np.array([10, 20, 30, 40], np.float32)
    indices = np.array([0b11_10_01_00, 0b00_01_10_11], np.uint8)
    shape = np.array([2, 4], np.uint32)
    mask, nonzero = np.array([0b1000_0010], np.uint8), np.array([5, 6], np.float32)

    @B.program(input_specs=specs(B), opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        affine = B.constexpr_affine_dequantize(quantized_data=data, zero_point=zero, scale=scale, axis=0)
        looked_up = B.constexpr_lut_to_dense(indices=indices, lut=table, shape=shape)
        sparse = B.constexpr_sparse_to_dense(nonzero_data=nonzero, mask=mask, shape=shape)
        return B.add(x=x, y=affine, name="a"), B.add(x=x, y=looked_up, name="b"), B.add(x=x, y=sparse, name="c")

    package = save(program, minimum_deployment_target=ct.target.iOS16)
    compressed = [op for op in package.operations() if op.type.startswith("constexpr_")]
    assert len(compressed) == 3
    assert all(not op.inputs for op in compressed)
    found = Evaluator(package).run(ZERO)
    assert found["a"].tolist() == [[-0.5, 0.0, 0.5, 1.0], [-6.0, -4.0, -2.0, 0.0]]
    assert found["b"].tolist() == [[10, 20, 30, 40], [40, 30, 20, 10]]
    assert found["c"].tolist() == [[0, 5, 0, 0], [0, 0, 0, 6]]


def test_the_ios18_generation(save: Any) -> None:
    """Operands stand in `inputs`; sub-byte types are declared, scales serve blocks and tables serve groups."""
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817
    from coremltools.converters.mil.mil import types

    int4, uint1 = (types.nptype_from_builtin(types.string_to_builtin(name)) for name in ("int4", "uint1"))
    data = np.array([[-8, -1, 0, 7], [1, 2, 3, 4]]).astype(int4)
    scale = np.array([[0.5, 2.0]], np.float32)  # blocks of 2 rows and 2 columns
    offset = np.array([[1, -1]]).astype(int4)
    tables = np.array([10, 20, 30, 40], np.float32).reshape(2, 1, 2, 1)  # one table of 2 entries a row
    bits = np.array([[0, 1, 1, 0], [1, 0, 0, 1]]).astype(uint1)

    @B.program(input_specs=specs(B), opset_version=ct.target.iOS18)
    def program(x: Any) -> Any:
        blocks = B.constexpr_blockwise_shift_scale(data=data, scale=scale, offset=offset)
        looked_up = B.constexpr_lut_to_dense(indices=bits, lut=tables)
        sparse = B.constexpr_sparse_to_dense(nonzero_data=np.array([1, 2, 3, 4], np.float32), mask=bits)
        return B.add(x=x, y=blocks, name="a"), B.add(x=x, y=looked_up, name="b"), B.add(x=x, y=sparse, name="c")

    package = save(program, minimum_deployment_target=ct.target.iOS18)
    compressed = [op for op in package.operations() if op.type.startswith("constexpr_")]
    assert len(compressed) == 3
    assert all(op.inputs for op in compressed)
    found = Evaluator(package).run(ZERO)
    assert found["a"].tolist() == [[-4.5, -1.0, 2.0, 16.0], [0.0, 0.5, 8.0, 10.0]]
    assert found["b"].tolist() == [[10, 20, 20, 10], [40, 30, 30, 40]]
    assert found["c"].tolist() == [[0, 1, 2, 0], [3, 0, 0, 4]]


def test_quantize_and_dequantize(save: Any) -> None:
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    @B.program(input_specs=specs(B), opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        grid = {"scale": np.float32(0.5), "zero_point": np.int8(10)}
        return B.dequantize(input=B.quantize(input=x, output_dtype="int8", **grid), **grid, name="y")

    x = np.array([[0.2, 0.3, -0.25, 0.75], [100.0, -100.0, 58.5, 59.0]], np.float32)
    # 0.25 and 0.75 are ties and go to the even neighbour; 58.5 is the largest value of this grid, -69 the smallest.
    expected = [[0.0, 0.5, 0.0, 1.0], [58.5, -69.0, 58.5, 58.5]]
    assert Evaluator(save(program)).run({"x": x})["y"].tolist() == expected


def test_a_classifier_gives_label_and_probabilities(save: Any) -> None:
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    @B.program(input_specs=[B.TensorSpec(shape=(1, 3))])
    def program(x: Any) -> Any:
        return B.softmax(x=x, axis=-1, name="p")

    package = save(program, classifier_config=ct.ClassifierConfig(["cat", "dog", "owl"]))
    x = np.array([[0.0, 2.0, 1.0]], np.float32)
    found = Evaluator(package).run({"x": x})
    label, probabilities = (found[feature.name] for feature in package.outputs)
    assert label.item() == "dog"
    assert np.allclose(probabilities, (np.exp(x) / np.exp(x).sum())[0], atol=1e-6)
