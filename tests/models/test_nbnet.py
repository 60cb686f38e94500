"""NBNet: the projection against linear algebra, sizes, configurations read from shapes, MegEngine's shapes."""

from dataclasses import replace

import pytest
import torch

from slide_export.models import ShapeError, config_tree, nbnet
from slide_export.models.nbnet import NbNet, NbNetConfig, Projection, orthonormal
from tests.conftest import randomise

SMALL = NbNetConfig(width=4, depth=3, subspace=4, skip_width=8, image_size=(16, 24))
EXACT = 1e-12  # float64, condition 1e4


def basis(count: int = 16, condition: float = 1e4) -> torch.Tensor:
    """Rows [1, count, 96] with singular values from 1 down to 1 / condition."""
    generator = torch.Generator().manual_seed(0)
    q, _ = torch.linalg.qr(torch.randn(96, count, generator=generator, dtype=torch.float64))
    mix, _ = torch.linalg.qr(torch.randn(count, count, generator=generator, dtype=torch.float64))
    return (mix * torch.logspace(0, -torch.log10(torch.tensor(condition)).item(), count) @ q.T).unsqueeze(0)


def test_projection_is_that_of_linear_algebra() -> None:
    v, x = basis(), torch.randn(1, 5, 8, 12, dtype=torch.float64)
    found = Projection(16)(v.reshape(1, 16, 8, 12), x)
    rows = v[0]
    expected = x.reshape(5, 96) @ rows.T @ torch.linalg.inv(rows @ rows.T) @ rows
    assert torch.allclose(found.reshape(5, 96), expected, atol=1e-7)  # the inverse's own error: condition^2 * 1e-16
    again = Projection(16)(v.reshape(1, 16, 8, 12), found)
    assert torch.allclose(again, found, atol=EXACT)  # a projection


def test_the_basis_is_orthonormal_in_float32_because_each_step_runs_twice() -> None:
    q = orthonormal(basis().float(), 16)[0].double()
    assert (q @ q.T - torch.eye(16)).abs().max() <= 1e-6  # once leaves 1e-4


def test_scaled_rows_give_the_same_projection() -> None:
    v, x = basis().reshape(1, 16, 8, 12), torch.randn(1, 5, 8, 12, dtype=torch.float64)
    scaled = v * torch.logspace(-3, 3, 16, dtype=torch.float64).reshape(1, 16, 1, 1)
    # upstream divides the rows by their L1 norm before it inverts: no such step is needed here
    assert torch.allclose(Projection(16)(scaled, x), Projection(16)(v, x), atol=1e-10)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, channels=1, depth=4, image_size=(32, 16))])
def test_infer_reads_the_model_from_its_shapes(config: NbNetConfig) -> None:
    state = NbNet(config).state_dict()
    assert nbnet.matches(state)
    assert nbnet.infer(state).at(config.image_size) == config


def test_read_config_is_the_inverse_of_the_written_tree() -> None:
    assert nbnet.read_config(config_tree.write_config(SMALL, "nbnet")) == SMALL


@pytest.mark.parametrize("size", [(100, 96), (96, 8), (0, 16)])
def test_sides_that_do_not_halve_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="multiples of 16"):
        nbnet.VARIANTS["nbnet"].at(size)
    with pytest.raises(ShapeError, match="multiples of 16"):
        NbNet(replace(nbnet.VARIANTS["nbnet"], image_size=size))


def test_a_tile_is_another_function_than_its_part_of_the_image() -> None:
    model, images = randomise(NbNet(SMALL.at((32, 32)))), torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        whole, tile = model(images)[:, :, 8:16, 8:16], model(images[:, :, :16, :16])[:, :, 8:16, 8:16]
    assert (whole - tile).abs().max() > 0.01 * whole.std()


def test_images_of_a_batch_do_not_influence_each_other() -> None:
    model, images = randomise(NbNet(SMALL)), torch.rand(3, 3, 16, 24)
    with torch.no_grad():
        assert torch.allclose(model(images)[1:2], model(images[1:2]), atol=1e-6)


def test_megengines_biases_lose_their_axes_and_nothing_else_does() -> None:
    state = NbNet(SMALL).state_dict()
    theirs = {key: value.reshape(1, -1, 1, 1) if key.endswith(".bias") else value for key, value in state.items()}
    ours = nbnet.from_megengine(theirs)
    assert all(torch.equal(ours[key], value) for key, value in state.items())


def test_a_bias_of_another_shape_stays_as_it_is_and_is_refused_later() -> None:
    state = nbnet.from_megengine({"last.bias": torch.zeros(3, 1)})
    assert state["last.bias"].shape == (3, 1)


@pytest.mark.parametrize("text", ["-0.1", "1.5", "nan", "steep"])
def test_a_slope_that_is_none_is_refused(text: str) -> None:
    (slope,) = nbnet.FAMILY.values
    assert slope.kind.read("0.25") == 0.25
    with pytest.raises(ValueError, match=text):
        slope.kind.read(text)


def test_pictures_are_cut_and_not_resized() -> None:
    data = nbnet.read_data(None, SMALL)
    assert (data.mean, data.std, data.resizes) == ((0.0,) * 3, (1.0,) * 3, False)
