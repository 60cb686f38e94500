"""A device over ssh: a real sshd on loopback, whose Python has the runtimes already, and everything that goes wrong.

After each test nothing of ours may be left on the device.
"""

import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import slide_export
from slide_export.benchmark.devices import connect, connect_for_proof
from slide_export.benchmark.plan import DeviceRequest
from slide_export.bundle.store import Bundle
from slide_export.cli import main as cli
from slide_export.core.errors import BackendUnavailable, DeviceError, MeasurementError, ParityError
from tests.bundles import restate
from tests.exporter.benchmark.devices.conftest import Start
from tests.exporter.benchmark.devices.sshd import STANDARD, VENV, Device

NEEDED = ("cat", "dd", "df", "env", "mktemp", "readlink", "rm", "sh", "sleep", "tail", "touch")


def programs(root: Path, *more: str, **scripts: str) -> str:
    """Directory, to be a PATH, with the programs of every Linux, some more, and scripts by name."""
    directory = root / "bin"
    directory.mkdir()
    for name in (*NEEDED, *more):
        found = shutil.which(name)
        assert found is not None, name
        (directory / name).symlink_to(found)
    for name, script in scripts.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return str(directory)


def connect_and_leave(device: Device, directory: str = "") -> None:
    with connect(DeviceRequest(device.url + directory)):
        pass


def test_a_measurement_holds_what_was_asked_and_names_the_device(
    device: Device, onnx_bundle: Bundle, openvino_bundle: Bundle
) -> None:
    both = [onnx_bundle.path, openvino_bundle.path]
    found = slide_export.bench(both, rounds=3, calls=2, threads=1, batches=(3,), device=device.url)
    assert [[len(calls) for calls in run.rounds_ms] for run in found.runs] == [[2, 2, 2]] * 2
    assert [run.evaluator.split()[0] for run in found.runs] == ["ONNX", "OpenVINO"]
    assert found.environment.device == device.url
    assert found.environment.versions["slide-export"] == onnx_bundle.manifest.versions["slide-export"]
    assert found.protocol.affinity == tuple(sorted(os.sched_getaffinity(0)))[:1]
    assert device.left() == []


@pytest.mark.parametrize("more", [("rsync",), ()], ids=["rsync", "scp"])
def test_a_proof_there_is_the_proof_here(
    start: Start, onnx_bundle: Bundle, tmp_path: Path, more: tuple[str, ...]
) -> None:
    device = start(path=f"{programs(tmp_path, *more)}:{VENV}")
    there = slide_export.verify(onnx_bundle.path, device=device.url)
    here = slide_export.verify(onnx_bundle.path)
    assert there.evaluator == f"{here.evaluator}, on {device.url}"
    assert dataclasses.replace(there, evaluator=here.evaluator) == here
    assert device.left() == []


def test_a_changed_weight_fails_the_proof_there(device: Device, onnx_bundle: Bundle, tmp_path: Path) -> None:
    altered = Path(shutil.copytree(onnx_bundle.path, tmp_path / "altered"))
    proto = onnx.load(altered / "model.onnx")
    tensor = next(item for item in proto.graph.initializer if item.name == "layers.3.blocks.0.mlp.fc1.bias")
    values = numpy_helper.to_array(tensor).copy()
    values[np.abs(values).argmax()] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    onnx.save(proto, altered / "model.onnx")
    restate(altered)
    with pytest.raises(ParityError, match="the artifact is not the model"):
        slide_export.verify(altered, device=device.url)
    assert device.left() == []


def test_what_is_kept_is_there_and_is_named(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), connect(DeviceRequest(device.url, keep=True)):
        pass
    (left,) = device.temporary.iterdir()
    assert (left / "device_runner.pyz").is_file()
    assert left.stat().st_mode & 0o777 == 0o700
    assert caplog.messages == [f"kept on {device.url}: {left}"]


def test_another_host_key_is_refused(device: Device) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", device.root / "other"], check=True)
    device.trust(device.root / "other.pub")
    with pytest.raises(
        DeviceError, match=r"expected the host key that known_hosts has for .*, found another one"
    ) as no:
        connect_and_leave(device)
    assert no.value.exit_code == 3
    assert device.left() == []


def test_an_unknown_host_is_refused(device: Device) -> None:
    (device.root / "known_hosts").write_text("")
    with pytest.raises(DeviceError, match=r"expected a known host key of .*, found none in known_hosts"):
        connect_and_leave(device)
    assert (device.root / "known_hosts").read_text() == ""


def test_refused_keys_end_without_a_question(device: Device) -> None:
    (device.root / "authorized_keys").write_text("")
    with pytest.raises(DeviceError, match="found every one refused"):
        connect_and_leave(device)


def test_no_server_is_told(device: Device) -> None:
    device.stop()
    with pytest.raises(DeviceError, match=r"expected an ssh server at .*Connection refused"):
        connect_and_leave(device)


def test_no_ssh_here_is_told(device: Device, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackendUnavailable, match="expected ssh on this machine"):
        connect_and_leave(device)


@pytest.mark.parametrize(
    ("scripts", "found"), [({}, "no python3"), ({"python3": "echo 3 9"}, "3.9")], ids=["none", "old"]
)
def test_a_device_needs_a_python(start: Start, tmp_path: Path, scripts: dict[str, str], found: str) -> None:
    device = start(path=programs(tmp_path, **scripts))
    with pytest.raises(DeviceError, match=rf"expected Python 3.10 or later on {device.url}, found {found}: install"):
        connect_and_leave(device)
    assert device.left() == []


@pytest.mark.parametrize(("directory", "reason"), [("/does/not/exist", "No such file"), ("/proc", "")])
def test_a_directory_that_cannot_be_written_is_told(device: Device, directory: str, reason: str) -> None:
    with pytest.raises(DeviceError, match=f"the device says: .*{reason}.*name another one"):
        connect_and_leave(device, directory)


@contextmanager
def small_disk(root: Path, options: str) -> Iterator[Path]:
    """Mounted file system of its own."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = root / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("more", [("rsync",), ()], ids=["rsync", "scp"])
@pytest.mark.parametrize("options", ["size=400k", "size=64m,nr_inodes=6"], ids=["bytes", "files"])
def test_a_full_disk_is_told(
    start: Start, onnx_bundle: Bundle, tmp_path: Path, options: str, more: tuple[str, ...]
) -> None:
    device = start(path=f"{programs(tmp_path, *more)}:{VENV}")
    with small_disk(tmp_path, options) as disk:
        with pytest.raises(DeviceError, match=f"in {disk}/.* on {device.url}.*, found it full"):
            slide_export.bench([onnx_bundle.path], device=f"{device.url}{disk}")
        assert list(disk.iterdir()) == []


BARE = f'exec {VENV}/python3 -S "$@"'  # a Python without what is installed beside it


def test_a_python_without_venv_is_told(start: Start, onnx_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "venv.py").write_text("raise ModuleNotFoundError(\"No module named 'venv'\")\n")
    device = start(path=programs(tmp_path, python3=BARE), PYTHONPATH=str(tmp_path))
    with pytest.raises(DeviceError, match="to make a virtual environment, found no venv module: install it there"):
        slide_export.verify(onnx_bundle.path, device=device.url)
    assert device.left() == []


@pytest.mark.slow  # it makes a virtual environment
def test_a_runtime_that_pip_cannot_find_is_told(start: Start, onnx_bundle: Bundle, tmp_path: Path) -> None:
    device = start(path=programs(tmp_path, python3=BARE), PIP_CONFIG_FILE="/dev/null", PIP_NO_INDEX="1")
    with pytest.raises(DeviceError, match=r"to install numpy and onnxruntime and onnx on .*, found no wheel of it"):
        slide_export.verify(onnx_bundle.path, device=device.url)
    assert device.left() == []


def test_a_crash_there_is_no_lost_connection(start: Start, onnx_bundle: Bundle, tmp_path: Path) -> None:
    script = f'case "$*" in *worker) kill -9 $$;; esac; exec {VENV}/python3 "$@"'
    device = start(path=programs(tmp_path, python3=script))
    with pytest.raises(MeasurementError, match=rf"on {device.url} to run, its process crashed \(signal 9\)"):
        slide_export.verify(onnx_bundle.path, device=device.url)
    assert device.left() == []


def test_a_dropped_connection_ends_in_one_sentence_and_the_device_cleans_up(
    device: Device, onnx_bundle: Bundle
) -> None:
    @contextmanager
    def step(what: str) -> Iterator[None]:
        if what.startswith("measure"):
            threading.Timer(0.5, device.drop).start()
        yield

    with pytest.raises(DeviceError, match=f"expected {device.url} to stay connected, found the connection dropped"):
        slide_export.bench([onnx_bundle.path], rounds=5000, threads=1, device=device.url, step=step)
    assert device.left() == []


def test_an_installation_that_is_cut_off_does_not_go_on(start: Start, onnx_bundle: Bundle, tmp_path: Path) -> None:
    endless = f'case "$*" in *venv*) while :; do ( sleep 0.1; mkdir -p "$PWD/environment"; : ); done;; esac; {BARE}'
    device = start(path=programs(tmp_path, "mkdir", python3=endless))

    @contextmanager
    def step(what: str) -> Iterator[None]:
        if what.startswith("install"):
            threading.Timer(0.5, device.drop).start()
        yield

    with connect_for_proof(device.url, step=step) as place, pytest.raises(DeviceError, match="connection dropped"):
        place.prepare([onnx_bundle.manifest])
    assert device.left() == []
    time.sleep(0.3)
    assert device.left() == []


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, cli.INTERRUPTED),
        pytest.param(signal.SIGKILL, -signal.SIGKILL, marks=pytest.mark.slow),  # then the device itself removes it
    ],
)
def test_an_interrupted_measurement_leaves_nothing(
    device: Device, onnx_bundle: Bundle, number: signal.Signals, code: int, tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "slide_export", "bench", onnx_bundle.path, "--device", device.url)
    more = ("--rounds", "5000", "--threads", "1", "-o", tmp_path / "result.json")
    said = tmp_path / "said.txt"
    with (
        said.open("w") as stderr,
        subprocess.Popen([*command, *more], stderr=stderr, start_new_session=True) as process,
    ):
        end = time.monotonic() + 60
        while not any(device.temporary.glob("*/*inputs*")) and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.5)
        os.killpg(process.pid, number)
        assert process.wait(60) == code, said.read_text()
    assert device.left() == []
    assert not (tmp_path / "result.json").exists()


def test_a_target_without_a_runner_is_refused_before_anything_is_copied(
    device: Device, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(onnx_bundle.path, tmp_path / "other"))
    settings = {"compute_units": "ALL", "mode": "float32", "bytes": False, "labels": []}
    restate(other, target="coreml", artifact=replace(onnx_bundle.manifest.artifact, settings=settings))
    with pytest.raises(
        BackendUnavailable, match=r"expected a target of .*litert, ncnn, onnx, openvino for a device, found coreml"
    ):
        slide_export.bench([other], device=device.url)


@pytest.mark.slow
def test_a_runtime_is_installed_into_an_environment_that_goes_with_it(
    start: Start, onnx_bundle: Bundle, tmp_path: Path
) -> None:
    device = start(path=f"{programs(tmp_path, python3=BARE)}:{STANDARD}")
    found = slide_export.bench([onnx_bundle.path], rounds=1, calls=1, threads=1, device=device.url)
    wanted = onnx_bundle.manifest.versions["onnxruntime"]
    assert found.environment.versions["onnxruntime"] == wanted
    assert "onnxsim" not in found.environment.versions  # which this environment has
    assert device.left() == []
