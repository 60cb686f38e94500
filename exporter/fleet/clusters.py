"""Where the workers are: a cluster of this sweep alone on this machine, or a scheduler that is there already."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from slide_export.backends import registry
from slide_export.core.errors import BackendUnavailable, DeviceError, RequestError, option
from slide_export.workflows.child import threads_each

from . import certificates
from .machine import HERE
from .placer import DaskEngine, offered

if TYPE_CHECKING:
    from distributed import Client

NO_RETRIES = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.daemon": False,
    "distributed.deploy.lost-worker-timeout": "1 day",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.worker.profile.enabled": False,
}
"""dask suspects each job that was near a death, and moves jobs about; we tell the guilty ourselves. A worker that takes
longer than the last to start again, on a busy machine say, would be ended for good: its nanny is to be left alone."""
MISSING_S = 60.0  # with fewer workers than asked for, before new ones are started
CONNECT_S = 10.0
NO_ADDRESS = "expected the address of a scheduler such as tls://host:8786"
SHARE = 0.9  # of the machine's memory that is offered

log = logging.getLogger(__name__)


def require() -> None:
    """Refuse where dask is not installed.

    Raises:
        BackendUnavailable: it is not.
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise BackendUnavailable(
            "expected the package distributed for a sweep, found it not installed: pip install 'slide-export[fleet]'"
        ) from error


def targets_here() -> tuple[str, ...]:
    """Targets that are installed on this machine."""
    return tuple(name for name in registry.names() if registry.availability(name).ready)


def memory_gib() -> float:
    """Memory that this machine offers to jobs."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return total * SHARE


@contextmanager
def embedded(
    workers: int, offers: Mapping[str, float] | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[DaskEngine]:
    """Worker processes on this machine, of one slot each, for one sweep; every socket is on 127.0.0.1.

    Args:
        offers: what each offers beside a slot, memory, and the targets that are installed.
        environment: variables of the workers.
    """
    require()
    import dask
    from distributed import Client, LocalCluster

    variables = {"OMP_NUM_THREADS": threads_each(workers), **(environment or {})}
    resources = offered(1, memory_gib() / workers, offers or {}, targets_here())
    with (
        _quiet(),
        dask.config.set(NO_RETRIES),
        tempfile.TemporaryDirectory(prefix="slide-export-dask-", ignore_cleanup_errors=True) as scratch,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            memory_limit=0,
            resources=resources,
            local_directory=scratch,
            env=variables,
            preload=["slide_export.fleet.uninterrupted"],
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.wait_for_workers(workers, timeout=60)
        yield DaskEngine(client, watch=_keeper(cluster, workers))


def _keeper(cluster: Any, workers: int) -> Callable[[int], None]:
    """Start workers again where some stay away: a nanny may have died with its worker."""
    since: list[float] = []

    def watch(found: int) -> None:
        """See how many there are."""
        if found >= workers:
            since.clear()
        elif not since:
            since.append(time.monotonic())
        elif time.monotonic() - since[0] > MISSING_S:
            log.warning("expected %d workers, found %d: starting new ones", workers, found)
            cluster.scale(len(cluster.worker_spec) + workers - found)  # those that are gone stay in its list
            since.clear()

    return watch


@contextmanager
def remote(address: str, tls: Path | None, *, insecure: bool = False) -> Iterator[DaskEngine]:
    """The workers of a scheduler that is there already.

    Raises:
        RequestError: the address is none, or whoever reaches its port would own the machines.
        DeviceError: no scheduler answers there.
    """
    require()
    refuse_open(address, insecure=insecure)
    from distributed import Client

    security = certificates.security(tls) if address.startswith("tls://") else None

    def connect() -> Client:
        """A client of the scheduler.

        Raises:
            OSError: none answers.
        """
        return Client(address, timeout=CONNECT_S, security=security, set_as_default=False)

    with _quiet():
        try:
            client = connect()
        except (OSError, ValueError) as error:
            raise DeviceError(
                f"expected a scheduler at {address}, none answers: {error}; start it, or see that its certificates "
                "are of the same authority"
            ) from error
        _warn_of_settings(client)
        engine = DaskEngine(client, connect)
        try:
            yield engine
        finally:
            engine.close()


def refuse_open(address: str, *, insecure: bool) -> None:
    """Refuse a scheduler of other machines without certificates.

    Raises:
        RequestError: it is one, or no address.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:  # a port that is no number, or a bracket that is not closed
        raise RequestError(f"{NO_ADDRESS}, found {address!r}: {error}") from None
    if parts.scheme not in ("tls", "tcp") or not host or port is None:
        raise RequestError(f"{NO_ADDRESS}, found {address!r}")
    if parts.scheme == "tcp" and host not in HERE and not insecure:
        raise RequestError(
            f"expected tls:// for a scheduler on another machine, found {address}: its port executes what it is sent, "
            f"so whoever reaches it owns the machines; make certificates, or take {option('insecure')} in a network "
            "that is yours alone"
        )


def _warn_of_settings(client: Any) -> None:
    """Say so where a scheduler suspects jobs itself: the sweep works all the same, with more runs of what kills."""
    found = client.run_on_scheduler(_settings)
    for name, value in found.items():
        if value != NO_RETRIES[name]:
            log.warning("the scheduler has %s: %s; %s is what a sweep expects", name, value, NO_RETRIES[name])


def _settings() -> dict[str, Any]:
    """Two settings of the scheduler that this runs in."""
    import dask

    names = ("distributed.scheduler.allowed-failures", "distributed.scheduler.work-stealing")
    return {name: dask.config.get(name) for name in names}


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep dask's own words about deaths and lost connections to itself: the sweep says what came of them."""
    names = ("distributed", "distributed.nanny", "distributed.scheduler", "distributed.core", "distributed.client",
             "distributed.worker", "distributed.batched", "distributed.comm.tcp")  # fmt: skip
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
