"""A seeded part of the suite of checkpoints, and that the suite itself sees what it is for."""

import copy
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from .checkpoints import _as_it_was, _reference, _sound, _within, run
from .hostile_pickles import archive, watched
from .outcome import GOOD

CASES = 50


@pytest.mark.filterwarnings("ignore")  # torch's, of the odd tensors that are made here
def test_each_checkpoint_is_loaded_as_it_was_or_refused_in_a_line(tmp_path: Path) -> None:
    found = {}
    for index in range(CASES):
        room = tmp_path / str(index)
        room.mkdir()
        found[index] = run(2026, index, room)
    assert {index: outcome for index, outcome in found.items() if outcome.verdict not in GOOD} == {}
    assert {"fine", "refused"} <= {outcome.verdict for outcome in found.values()}


def test_the_jail_notices_a_file_a_process_and_a_socket(tmp_path: Path) -> None:
    import socket
    import subprocess

    with watched() as found:
        (tmp_path / "made").write_text("x")
        subprocess.run(["true"], check=True)
        socket.socket().close()
    events = {event.split()[0] for event in found}
    assert {"open", "subprocess.Popen", "socket.__new__"} <= events


def test_the_suite_notices_another_model() -> None:
    sound, data = _reference(), _sound("safetensors")
    assert (_as_it_was(sound), _within(data, sound)) == ("", "")
    other = replace(sound, module=copy.deepcopy(sound.module))
    with torch.no_grad():
        next(other.module.parameters()).add_(0.125)
    assert "is another one" in _as_it_was(other)
    assert "is not in the file" in _within(data, other)
    elsewhere = replace(sound, config=replace(sound.config, window=(2, 2)))
    assert _as_it_was(elsewhere) == "another configuration"


def test_the_archive_of_the_suite_is_torchs(tmp_path: Path) -> None:
    archive(tmp_path / "a.pth", b"\x80\x02}X\x01\x00\x00\x00aK\x01s.")
    assert torch.load(tmp_path / "a.pth", weights_only=True) == {"a": 1}
    assert zipfile.is_zipfile(tmp_path / "a.pth")
