"""What a lowering to ncnn asks for and refuses before it converts anything."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from slide_export.backends.interface import LoweringOptions
from slide_export.backends.ncnn.artifact import _names, _refuse_coupled, _settings
from slide_export.backends.ncnn.settings import MOST_THREADS
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.model import Model
from slide_export.core.precision import precision_named
from slide_export.inference.served import ServedModel, serve
from slide_export.tasks import TASKS


def settings(served: ServedModel, threads: str) -> dict[str, Any]:
    return _settings(served, LoweringOptions(precision_named("fp32"), ModelIO(), {"threads": threads}))


@pytest.mark.parametrize("threads", [1, 2, MOST_THREADS])
def test_threads_are_a_whole_number(threads: int, model: Model) -> None:
    found = settings(serve(model, ModelIO(embed_preprocessing=True)), str(threads))
    assert (found["threads"], found["bytes"], any(found["options"].values())) == (threads, True, False)
    assert settings(serve(model, ModelIO()), "1")["bytes"] is False


@pytest.mark.parametrize("threads", ["0", "-1", "1.5", "two", "", "01", str(MOST_THREADS + 1), "99999"])
def test_threads_that_are_none_are_refused(threads: str, model: Model) -> None:
    with pytest.raises(RequestError, match=f"expected threads of 1 to {MOST_THREADS}, found '{threads}'"):
        settings(serve(model, ModelIO()), threads)


def test_images_that_change_each_others_outputs_are_refused(model: Model) -> None:
    @dataclass(frozen=True)
    class Coupled(ServedModel):
        """A model that takes images in pairs."""

        @property
        def coupled(self) -> int:
            return 2

    served = serve(model, ModelIO())
    _refuse_coupled(served)
    with pytest.raises(RequestError, match="takes them 2 by 2"):
        _refuse_coupled(Coupled(**vars(served)))


def test_pnnxs_names_become_the_tasks(model: Model) -> None:
    assert _names(serve(model, ModelIO())) == {"in0": "images", "out0": "logits"}
    views = next(task for task in TASKS if len(task.inputs) == 2)
    assert list(_names(replace(serve(model, ModelIO()), task=views)))[:2] == ["in0", "in1"]
