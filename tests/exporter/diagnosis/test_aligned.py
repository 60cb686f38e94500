"""Values of an artifact in the shapes of the trained modules'."""

import torch

from slide_export.diagnosis.diagnose import _aligned


def test_a_map_whose_transpose_was_moved_behind_its_module_is_read_in_the_modules_order() -> None:
    expected = torch.randn(2, 3, 5, 4)  # channels last
    found = {
        "moved": expected.permute(0, 3, 1, 2).numpy(),
        "kept": expected.numpy(),
        "flat": expected.reshape(2, 15, 4).numpy(),
    }
    aligned = _aligned(dict.fromkeys(found, expected), found)
    assert all(torch.equal(value, expected.double()) for value in aligned.values())
    assert aligned.keys() == found.keys()


def test_a_map_stands_for_its_tokens_also_where_no_shape_tells_the_layout() -> None:
    """Of 4 channels and 4x4 pixels every order of axes has the same shape."""
    tokens = torch.randn(2, 16, 4)
    maps = tokens.reshape(2, 4, 4, 4)
    found = {"first": maps.permute(0, 3, 1, 2).numpy(), "last": maps.numpy()}
    for expected in (tokens, maps):
        aligned = _aligned(dict.fromkeys(found, expected), found)
        assert all(torch.equal(value, expected.double()) for value in aligned.values())


def test_a_wrong_value_and_one_that_is_no_number_stay_so_in_every_layout() -> None:
    expected = torch.randn(1, 4, 4, 4)
    aligned = _aligned(
        {"wrong": expected, "nan": expected}, {"wrong": -expected.numpy(), "nan": expected.numpy() * torch.nan}
    )
    assert (aligned["wrong"] - expected).square().sum() > expected.square().sum()
    assert aligned["nan"].isnan().all()


def test_a_value_of_another_size_is_left_out() -> None:
    assert not _aligned({"module": torch.zeros(2, 3)}, {"module": torch.zeros(2, 4).numpy()})
