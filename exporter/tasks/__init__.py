"""The tasks, one a file; the checkpoint's family names its own. Imports core alone."""

from collections.abc import Sequence

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.core.task import Task

from .classify import CLASSIFY
from .classify_views import CLASSIFY_VIEWS
from .detect import DETECT
from .features import FEATURES
from .restore import RESTORE
from .segment import SEGMENT

TASKS: tuple[Task, ...] = (
    CLASSIFY,  # logits or probabilities of an image
    CLASSIFY_VIEWS,  # logits of two images
    RESTORE,  # an image without its noise
    SEGMENT,  # a class at each pixel
    DETECT,  # objects in an image, before the best are chosen
    FEATURES,  # stage maps of any backbone; asked for, never a family's own
)


def task_of(name: str, io: ModelIO, tasks: Sequence[Task] = TASKS) -> Task:
    """The task of a family, or `features` where stage maps are asked for.

    Raises:
        RequestError: no task of that name is known.
    """
    if io.features:
        return FEATURES
    for task in tasks:
        if task.name == name:
            return task
    known = ", ".join(task.name for task in tasks)
    raise RequestError(f"expected a task of {known}; the family names {name!r}: pass the task too")


__all__ = ["CLASSIFY", "CLASSIFY_VIEWS", "DETECT", "FEATURES", "RESTORE", "SEGMENT", "TASKS", "task_of"]
