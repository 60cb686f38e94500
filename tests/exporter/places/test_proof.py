"""A proof whose artifact runs elsewhere is the proof here."""

import dataclasses
import sys

from slide_export import verification
from slide_export.places import proof
from slide_export.places.command import Command
from slide_export.types import Bundle


def test_a_proof_by_the_runner_is_the_proof_here(openvino_bundle: Bundle) -> None:
    with Command("the other", (sys.executable,)) as place:
        there = proof.verify(openvino_bundle.path, place)
    here = verification.verify(openvino_bundle.path)
    assert dataclasses.replace(there, evaluator=here.evaluator) == here
    assert there.evaluator == f"{here.evaluator}, on the other"
