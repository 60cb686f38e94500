from typing import Any

import numpy as np
import pytest
import torch

from slide_export.mil import Evaluator
from slide_export.mil.resize import grid

TOLERANCE = 1e-6


# The examples in the docstring of coremltools' `resize_bilinear`: two elements, 0 and 1, to five.
@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("UNALIGN_CORNERS", [0.0, 0.1, 0.5, 0.9, 1.0]),
        ("STRICT_ALIGN_CORNERS", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("ALIGN_CORNERS", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("DEFAULT", [0.0, 0.4, 0.8, 1.0, 1.0]),
        ("OFFSET_CORNERS", [0.1, 0.3, 0.5, 0.7, 0.9]),
    ],
)
def test_grid(mode: str, expected: list[float]) -> None:
    assert grid(mode, 2, 5).tolist() == pytest.approx(expected)


def test_against_torch(save: Any) -> None:
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 2, 4, 5)).astype(np.float32))

    @B.program(input_specs=[B.TensorSpec(shape=tuple(x.shape))])
    def program(x: Any) -> Any:
        double = {"scale_factor_height": 2, "scale_factor_width": 3}
        size = {"target_size_height": 7, "target_size_width": 3}
        return (
            B.upsample_nearest_neighbor(x=x, **double, name="nearest"),
            B.upsample_bilinear(x=x, **double, align_corners=True, name="corners"),
            B.upsample_bilinear(x=x, **double, align_corners=False, name="pixels"),
            B.resize_bilinear(x=x, **size, sampling_mode="UNALIGN_CORNERS", name="size"),
        )

    found = Evaluator(save(program)).run({"x": x.numpy()})
    interpolate = torch.nn.functional.interpolate
    expected = {
        "nearest": interpolate(x, scale_factor=(2, 3), mode="nearest"),
        "corners": interpolate(x, size=(8, 15), mode="bilinear", align_corners=True),
        "pixels": interpolate(x, size=(8, 15), mode="bilinear", align_corners=False),
        "size": interpolate(x, size=(7, 3), mode="bilinear", align_corners=False),
    }
    errors = {name: np.abs(found[name] - value.numpy()).max() for name, value in expected.items()}
    assert {name: error for name, error in errors.items() if error > TOLERANCE} == {}
