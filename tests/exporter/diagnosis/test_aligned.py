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


def test_a_value_of_another_size_is_left_out() -> None:
    assert not _aligned({"module": torch.zeros(2, 3)}, {"module": torch.zeros(2, 4).numpy()})
