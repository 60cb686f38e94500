"""`resample` against torch's GridSample, inside and outside the map."""

from typing import Any

import numpy as np
import pytest
import torch

from slide_export.mil import Evaluator, MilError

TOLERANCE = 2e-6  # float32 on both sides; torch works out places in float32 too
MODES = {"sampling_mode": "bilinear", "padding_mode": "constant", "padding_value": np.float32(0)}


def program_of(coordinates: torch.Tensor, x: torch.Tensor, **modes: Any) -> Any:
    from coremltools.converters.mil.mil import Builder as B  # noqa: N817

    @B.program(input_specs=[B.TensorSpec(shape=tuple(x.shape)), B.TensorSpec(shape=tuple(coordinates.shape))])
    def program(x: Any, places: Any) -> Any:
        told = {**MODES, "coordinates_mode": "normalized_minus_one_to_one", "align_corners": True, **modes}
        return B.resample(x=x, coordinates=places, **told, name="sampled")

    return program


@pytest.mark.parametrize("corners", [True, False])
def test_it_is_torchs_grid_sample(corners: bool, save: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 5, 7, generator=generator)
    coordinates = torch.randn(2, 4, 6, 2, generator=generator)  # a third of them outside the map
    coordinates[0, 0, :3] = torch.tensor([[-1.0, 1.0], [0.0, 0.0], [3.0, -2.0]])
    found = Evaluator(save(program_of(coordinates, x, align_corners=corners))).run(
        {"x": x.numpy(), "places": coordinates.numpy()}
    )["sampled"]
    options = {"mode": "bilinear", "padding_mode": "zeros"}
    expected = torch.nn.functional.grid_sample(x, coordinates, **options, align_corners=corners)
    assert np.abs(found - expected.numpy()).max() <= TOLERANCE
    other = torch.nn.functional.grid_sample(x, coordinates, **options, align_corners=not corners)
    assert np.abs(found - other.numpy()).max() > 0.1


def test_a_mode_that_is_not_implemented_is_refused_by_name(save: Any) -> None:
    x, coordinates = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 1, 2)
    package = save(program_of(coordinates, x, padding_mode="border"))
    with pytest.raises(MilError, match="padding_mode='border' is not implemented; implemented: constant"):
        Evaluator(package).run({"x": x.numpy(), "places": coordinates.numpy()})
