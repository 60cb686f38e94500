"""`make bench`: every measurement, as Markdown on standard output."""

import os
import platform

from . import export_cost, lowerings


def machine() -> str:
    """Returns the processor and the number of cores."""
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123  # not a path of ours
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor()
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


print(f"# Measured on {machine()}\n\nCommand: `make bench`; nothing else ran.\n")
export_cost.main()
print()
lowerings.main()
