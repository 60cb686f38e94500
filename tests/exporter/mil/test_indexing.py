from typing import Any

import numpy as np
import pytest

from slide_export.mil import Evaluator, MilError

X = np.arange(2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6)
NEGATIVE = np.array([[-1, 0], [2, -5]], np.int32)
UNSIGNED = np.array([4, 0, 3], np.uint16)


def test_against_numpy(save: Any) -> None:
    import coremltools as ct
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    @B.program(input_specs=[B.TensorSpec(shape=X.shape)], opset_version=ct.target.iOS16)
    def program(x: Any) -> Any:
        along = np.broadcast_to(np.array([-1, 2], np.int32)[None, :, None], (2, 2, 6))
        pairs = np.array([[0, 4], [1, 2]], np.int32)
        keep_all = {"begin_mask": [True, False, True], "end_mask": [True, True, True]}
        return (
            B.gather(x=x, indices=NEGATIVE, axis=1, name="gather"),
            B.gather(x=x, indices=UNSIGNED, axis=1, name="gather_uint16"),
            B.gather(x=x, indices=NEGATIVE, axis=2, batch_dims=1, name="gather_batch"),
            B.gather_along_axis(x=x, indices=np.array(along), axis=1, name="gather_along_axis"),
            B.gather_nd(x=x, indices=pairs, name="gather_nd"),
            B.slice_by_size(x=x, begin=[0, -3, 1], size=[2, 2, -1], name="slice_by_size"),
            B.slice_by_index(x=x, begin=[0, 1, 0], end=[0, 0, 0], stride=[1, 2, 1], **keep_all, name="open"),
            B.slice_by_index(x=x, begin=[0, -1, 5], end=[2, -4, 0], stride=[1, -1, -2], name="backwards"),
            B.slice_by_index(x=x, begin=[1, 0, 0], end=[0, 5, 3], squeeze_mask=[True, False, False], name="squeezed"),
        )

    package = save(program, minimum_deployment_target=ct.target.iOS16)
    assert "uint16" in {op.outputs[0].type.element for op in package.operations()}
    found = Evaluator(package).run({"x": X})
    expected = {
        "gather": X[:, NEGATIVE],
        "gather_uint16": X[:, [4, 0, 3]],
        "gather_batch": np.stack([row[:, pick] for row, pick in zip(X, NEGATIVE, strict=True)]),
        "gather_along_axis": X[:, [-1, 2]],
        "gather_nd": X[[0, 1], [4, 2]],
        "slice_by_size": X[:, 2:4, 1:],
        "open": X[:, 1::2],
        "backwards": X[:, -1:-4:-1, 5:0:-2],
        "squeezed": X[1, :, :3],
    }
    assert [name for name, value in expected.items() if not np.array_equal(found[name], value)] == []


def test_an_index_beyond_the_end_is_an_error_that_names_the_operation(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817
    from coremltools.converters.mil.mil import types

    specs = [B.TensorSpec(shape=(3,)), B.TensorSpec(shape=(1,), dtype=types.int32)]

    @B.program(input_specs=specs)
    def program(x: Any, i: Any) -> Any:
        return B.gather(x=x, indices=i, axis=0, name="pick")

    with pytest.raises(MilError, match="gather 'pick'"):
        Evaluator(save(program)).run({"x": np.zeros(3, np.float32), "i": np.array([3], np.int32)})
