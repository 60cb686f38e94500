"""What the measurements ran on."""

import os
import platform


def machine() -> str:
    """The processor, the number of cores and the interpreter."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123  # not a path of ours
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"
