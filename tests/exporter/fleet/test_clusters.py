"""Which schedulers are taken, and when workers that stay away are started again."""

from types import SimpleNamespace

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet import clusters
from slide_export.fleet.clusters import MISSING_S, SHARE, memory_gib, refuse_open


@pytest.mark.parametrize("address", ["tcp://rack:8786", "tcp://10.0.0.7:8786"])
def test_an_open_port_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(RequestError, match="whoever reaches it owns the machines"):
        refuse_open(address, insecure=False)
    refuse_open(address, insecure=True)
    refuse_open("tcp://127.0.0.1:8786", insecure=False)


@pytest.mark.parametrize(
    "address",
    ["rack:8786", "tls://rack", "http://rack:80", "tls://:8786", "tls://rack:x", "tls://rack:65536", "tcp://[::1"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(RequestError, match="expected the address of a scheduler such as tls://host:8786"):
        refuse_open(address, insecure=True)


@pytest.mark.parametrize("address", ["tls://rack:8786", "tcp://localhost:1", "tls://[::1]:8786"])
def test_an_address_with_certificates_or_of_this_machine_is_taken(address: str) -> None:
    refuse_open(address, insecure=False)


def test_workers_that_stay_away_are_started_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, asked = [0.0], list[int]()
    monkeypatch.setattr(clusters.time, "monotonic", lambda: clock[0])
    watch = clusters._keeper(SimpleNamespace(worker_spec=dict.fromkeys("abcd"), scale=asked.append), 4)
    for seconds, found in ((0.0, 3), (MISSING_S, 3), (MISSING_S + 1, 4), (MISSING_S + 2, 2)):
        clock[0] = seconds
        watch(found)
    assert asked == []  # not for longer than a minute, and all were there between
    clock[0] = 2 * MISSING_S + 2.5
    watch(2)
    assert asked == [4 + 4 - 2]  # the two that are gone stay in dask's list
    watch(2)
    assert asked == [6]  # counted anew


def test_a_tenth_of_the_memory_is_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 20}[name])
    assert memory_gib() == pytest.approx(4 * 0.9)
    assert SHARE == 0.9
