"""Values of an artifact in the shapes of the trained modules' outputs, each with the call that it is of."""

import torch

from slide_export.diagnosis.align import aligned


def test_a_map_whose_transpose_was_moved_behind_its_module_is_read_in_the_modules_order() -> None:
    expected = torch.randn(2, 3, 5, 4)  # channels last
    found = {
        "moved": [expected.permute(0, 3, 1, 2).numpy()],
        "kept": [expected.numpy()],
        "flat": [expected.reshape(2, 15, 4).numpy()],
    }
    made = aligned({name: [expected] for name in found}, found)
    assert all(torch.equal(value, expected.double()) for (value,) in made.values())
    assert made.keys() == found.keys()


def test_a_map_stands_for_its_tokens_also_where_no_shape_tells_the_layout() -> None:
    """Of 4 channels and 4x4 pixels every order of axes has the same shape."""
    tokens = torch.randn(2, 16, 4)
    maps = tokens.reshape(2, 4, 4, 4)
    found = {"first": [maps.permute(0, 3, 1, 2).numpy()], "last": [maps.numpy()]}
    for expected in (tokens, maps):
        made = aligned({name: [expected] for name in found}, found)
        assert all(torch.equal(value, expected.double()) for (value,) in made.values())


def test_a_wrong_value_and_one_that_is_no_number_stay_so_in_every_layout() -> None:
    expected = torch.randn(1, 4, 4, 4)
    made = aligned(
        {"wrong": [expected], "nan": [expected]}, {"wrong": [-expected.numpy()], "nan": [expected.numpy() * torch.nan]}
    )
    assert (made["wrong"][0] - expected).square().sum() > expected.square().sum()
    assert made["nan"][0].isnan().all()


def test_a_value_of_another_size_is_left_out() -> None:
    assert not aligned({"module": [torch.zeros(2, 3)]}, {"module": [torch.zeros(2, 4).numpy()]})


def test_values_of_several_calls_stand_in_the_order_of_the_calls() -> None:
    """Sizes tell most apart; of two of one size the nearer is it, and what is no number is what is left."""
    outputs = [torch.randn(1, 4, side, side) for side in (4, 2, 2)]
    large, first, second = (output.numpy() + 0.01 for output in outputs)
    for values in ([second, large, first], [first, second, large]):
        made = aligned({"head": outputs}, {"head": values})["head"]
        assert all(torch.allclose(value, output.double() + 0.01) for value, output in zip(made, outputs, strict=True))
    (_, left, whole) = aligned({"head": outputs}, {"head": [large, first * torch.nan, second]})["head"]
    assert left.isnan().all()
    assert torch.allclose(whole, outputs[2].double() + 0.01)


def test_calls_of_which_one_has_another_size_are_left_out() -> None:
    outputs = [torch.zeros(1, 4), torch.zeros(1, 2)]
    assert not aligned({"head": outputs}, {"head": [torch.zeros(1, 4).numpy(), torch.zeros(1, 4).numpy()]})
