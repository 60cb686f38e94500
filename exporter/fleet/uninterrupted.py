"""What dask runs first in each worker of a sweep's own cluster: Ctrl-C is for the sweep, which ends them itself.

A terminal sends it to every process of the command; a worker that took it would end in the job that is waited for.
"""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
