"""What every task owes the pipeline. A new file in exporter/tasks/ is tested here without a change."""

import importlib
from pathlib import Path

import numpy as np
import pytest

from slide_export import tasks
from slide_export.core.artifact import ModelIO
from slide_export.core.task import Task

FILES = sorted(file.stem for file in Path(tasks.__file__).parent.glob("*.py") if file.stem != "__init__")


@pytest.mark.parametrize("file", FILES)
def test_each_file_has_its_task_in_the_list(file: str) -> None:
    own = [one for one in vars(importlib.import_module(f"{tasks.__name__}.{file}")).values() if isinstance(one, Task)]
    assert [task.name for task in own] == [file]
    assert own[0] in tasks.TASKS


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_its_inputs_and_outputs_are_named_apart(task: Task) -> None:
    names = (*task.inputs, *task.outputs(ModelIO()))
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_an_answer_is_drawn_in_lines(task: Task) -> None:
    rng = np.random.default_rng(0)
    found = {name: rng.normal(size=(1, 4)).astype(np.float32) for name in task.outputs(ModelIO())}
    lines = task.draw(found, ())
    assert lines
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("task", tasks.TASKS, ids=lambda task: task.name)
def test_top_1_is_of_a_task_that_decides(task: Task) -> None:
    assert not task.labelled or task.decision_axis is not None
