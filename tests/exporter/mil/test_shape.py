from typing import Any

import numpy as np

from slide_export.mil import Evaluator

X = np.arange(2 * 3 * 4 * 4, dtype=np.float32).reshape(2, 3, 4, 4)


def test_against_numpy(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    @B.program(input_specs=[B.TensorSpec(shape=X.shape)])
    def program(x: Any) -> Any:
        first, second = B.split(x=x, split_sizes=[1, 2], axis=1, name="split")
        return (
            B.reshape(x=x, shape=[2, -1, 0, 2], name="reshape"),
            B.transpose(x=x, perm=[0, 2, 3, 1], name="transpose"),
            B.expand_dims(x=x, axes=[-1], name="expand_dims"),
            B.squeeze(x=first, axes=[1], name="squeeze"),
            B.concat(values=[second, first], axis=1, name="concat"),
            B.concat(values=[second, second], axis=1, interleave=True, name="interleaved"),
            B.concat(values=[x], axis=0, name="one_value"),
            B.stack(values=[x, x], axis=2, name="stack"),
            B.tile(x=x, reps=[1, 2, 1, 3], name="tile"),
            B.reverse(x=x, axes=[-1, 0], name="reverse"),
            B.pad(x=x, pad=[1, 2, 0, 3], mode="constant", constant_val=np.float32(7), name="constant"),
            B.pad(x=x, pad=[1, 2, 3, 0], mode="reflect", name="reflect"),
            B.pad(x=x, pad=[1, 2, 4, 0], mode="replicate", name="replicate"),
            B.pixel_shuffle(x=B.tile(x=x, reps=[1, 4, 1, 1]), upscale_factor=2, name="pixel_shuffle"),
            B.band_part(x=x, lower=1, upper=0, name="band_part"),
        )

    found = Evaluator(save(program)).run({"x": X})
    sides = ((0, 0), (0, 0))
    tiled = np.tile(X, (1, 4, 1, 1)).reshape(2, 3, 2, 2, 4, 4)
    expected = {
        "reshape": X.reshape(2, -1, 4, 2),
        "transpose": np.moveaxis(X, 1, -1),
        "expand_dims": X[..., None],
        "squeeze": X[:, 0],
        "concat": X[:, [1, 2, 0]],
        "interleaved": X[:, [1, 1, 2, 2]],
        "one_value": X,
        "stack": np.stack([X, X], 2),
        "tile": np.tile(X, (1, 2, 1, 3)),
        "reverse": X[::-1, :, :, ::-1],
        "constant": np.pad(X, (*sides, (1, 2), (0, 3)), constant_values=7),
        "reflect": np.pad(X, (*sides, (1, 2), (3, 0)), mode="reflect"),
        "replicate": np.pad(X, (*sides, (1, 2), (4, 0)), mode="edge"),
        "pixel_shuffle": tiled.transpose(0, 1, 4, 2, 5, 3).reshape(2, 3, 8, 8),
        "band_part": np.tril(X) - np.tril(X, -2),
    }
    assert [name for name, value in expected.items() if not np.array_equal(found[name], value)] == []
