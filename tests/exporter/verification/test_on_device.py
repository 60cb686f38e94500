"""A proof whose artifact runs elsewhere is the proof here."""

import dataclasses
import sys

from slide_export.benchmark.devices.command import Command
from slide_export.bundle.store import Bundle
from slide_export.verification import bundle as verification
from slide_export.verification import on_device as proof


def test_a_proof_by_the_runner_is_the_proof_here(openvino_bundle: Bundle) -> None:
    with Command("the other", (sys.executable,)) as place:
        there = proof.verify(openvino_bundle.path, place)
    here = verification.verify(openvino_bundle.path)
    assert dataclasses.replace(there, evaluator=here.evaluator) == here
    assert there.evaluator == f"{here.evaluator}, on the other"
