"""Another command of slide-export that computes beside a measurement is told, one that waits is not."""

import os
import signal
import subprocess
import sys
import time

from slide_export.fleet import strangers

BUSY = "while True: pass"


def test_a_command_is_ours_by_its_program_or_module() -> None:
    assert strangers.is_ours(["/usr/bin/python3", "-m", "slide_export.workflows.child", "torch"])
    assert strangers.is_ours(["/usr/bin/python3", "/x/bin/slide-export", "export"])
    assert strangers.is_ours(["slide-export", "bench"])
    assert not strangers.is_ours(["vim", "exporter/fleet.md"])
    assert not strangers.is_ours([])


def test_what_takes_little_disturbs_nothing() -> None:
    (said,) = strangers.disturbances({7: 1.0, 9: 5.0}, {7: 4.0, 8: 0.9, 9: 5.0}, 20.0)
    assert said == "another process of slide-export, 7, took 3.0 s of a processor meanwhile"


def test_a_process_that_computes_is_seen_and_our_own_children_are_not() -> None:
    command = [sys.executable, "-c", BUSY, "slide_export"]
    quiet = "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL"
    begin = f"import subprocess; print(subprocess.Popen({command!r}, {quiet}).pid)"
    apart = int(subprocess.run([sys.executable, "-c", begin], capture_output=True, check=True).stdout)
    child = subprocess.Popen(command)
    try:
        before, start = strangers.running(), time.monotonic()
        assert child.pid not in before
        time.sleep(1)
        found = strangers.disturbances(before, strangers.running(), time.monotonic() - start)
        assert [said for said in found if f", {apart}, took" in said]
    finally:
        os.kill(apart, signal.SIGKILL)
        child.kill()
        child.wait()
