"""The largest batch that a program is planned for: what a proof runs at least, what an artifact may have at most."""

from dataclasses import dataclass

import pytest

from slide_export.backends.executorch.artifact import OPTIONS, _largest
from slide_export.backends.interface import LoweringOptions
from slide_export.core.artifact import LARGEST_BATCH, ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.core.precision import precision_named
from slide_export.inference.served import ServedModel, serve


@dataclass(frozen=True)
class Coupled(ServedModel):
    """A model that takes images in threes."""

    @property
    def coupled(self) -> int:
        return 3


def options(batch: int | None = None, **told: str) -> LoweringOptions:
    return LoweringOptions(precision_named("fp32"), ModelIO(batch=batch), told)


@pytest.mark.parametrize("most", [8, 9, LARGEST_BATCH])
def test_a_bound_is_what_a_proof_runs_or_more(most: int, model: Model) -> None:
    assert _largest(serve(model, ModelIO()), options(max_batch=str(most))) == most


@pytest.mark.parametrize("text", ["7", "0", "-8", "8.0", "eight", "", str(LARGEST_BATCH + 1)])
def test_a_bound_that_is_none_is_refused(text: str, model: Model) -> None:
    with pytest.raises(RequestError, match=f"expected max_batch of 8 to {LARGEST_BATCH}, since"):
        _largest(serve(model, ModelIO()), options(max_batch=text))


def test_a_fixed_batch_is_its_own_bound(model: Model) -> None:
    assert _largest(serve(model, ModelIO()), options(2, max_batch="no number")) == 2
    assert _largest(serve(model, ModelIO()), options()) == int(OPTIONS["max_batch"].default)


def test_a_bound_is_a_multiple_of_what_a_model_couples(model: Model) -> None:
    coupled = Coupled(**vars(serve(model, ModelIO())))
    assert _largest(coupled, options(max_batch="9")) == 9
    with pytest.raises(RequestError, match="a multiple of 3, since"):
        _largest(coupled, options(max_batch="8"))
