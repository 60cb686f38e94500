"""Outputs of a task by name."""

from dataclasses import replace

import pytest

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.tasks import CLASSIFY

WITH_CHOICES = replace(CLASSIFY, name="restore", choices=("restored", "noise"))


@pytest.mark.parametrize(("asked", "taken"), [("", "restored"), ("restored", "restored"), ("noise", "noise")])
def test_the_first_choice_is_the_default(asked: str, taken: str) -> None:
    assert WITH_CHOICES.chosen(ModelIO(batch=2, output=asked)) == ModelIO(batch=2, output=taken)


def test_a_task_without_choices_has_no_name_for_its_outputs() -> None:
    assert CLASSIFY.chosen(ModelIO()).output == ""


@pytest.mark.parametrize("task", [CLASSIFY, WITH_CHOICES], ids=["none", "others"])
def test_an_output_that_the_task_does_not_have_is_refused(task: object) -> None:
    with pytest.raises(RequestError, match=r"found 'mask'"):
        task.chosen(ModelIO(output="mask"))  # type: ignore[attr-defined]
