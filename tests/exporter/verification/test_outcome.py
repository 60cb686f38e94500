"""The words and the JSON of outcomes."""

import json
import math
from dataclasses import replace

import pytest

from slide_export.core.proof import Acceptance
from slide_export.verification.outcome import VerifyResult, as_plain, exit_code


def test_the_worst_exit_code_is_told(outcomes: tuple[VerifyResult, ...]) -> None:
    assert [exit_code(outcomes), exit_code(outcomes[1:]), exit_code(outcomes[2:])] == [1, 2, 0]


def test_verdicts(outcomes: tuple[VerifyResult, ...]) -> None:
    assert [one.verdict for one in outcomes] == ["not equal", "not proved", "proved equal"]
    proof = outcomes[2].proof
    assert proof is not None
    quantized = replace(outcomes[2], proof=replace(proof, accepted=Acceptance(4.0, 20.0)))
    assert quantized.verdict == "within quantization noise"


@pytest.mark.parametrize("error", [2.0, math.nan])
def test_the_output_nearest_to_its_limit_is_told(outcomes: tuple[VerifyResult, ...], error: float) -> None:
    proof = outcomes[2].proof
    assert proof is not None
    (near,) = proof.outputs
    tiny, far = replace(near, name="tiny", max_abs=0.0), replace(near, name="far", max_abs=error)
    two = replace(outcomes[2], proof=replace(proof, outputs=(tiny, far, near)))
    assert two.tightest == far


def test_json_has_every_bundle_and_no_nan(outcomes: tuple[VerifyResult, ...]) -> None:
    proof = outcomes[0].proof
    assert proof is not None
    nowhere = replace(proof, outputs=(replace(proof.outputs[0], max_abs=math.nan),))
    plain = as_plain((replace(outcomes[0], proof=nowhere), *outcomes[1:]))
    text = json.dumps(plain, allow_nan=False)
    assert [one["passed"] for one in json.loads(text)["bundles"]] == [False, False, True]
    assert plain["bundles"][0]["proof"]["outputs"][0]["max_abs"] is None
    assert (plain["passed"], plain["exit_code"]) == (False, 1)
