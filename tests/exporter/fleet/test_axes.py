"""A plan's axes as the artifacts that it asks for, and what is refused of them before any work."""

from typing import Any

import pytest

from slide_export.core.errors import RequestError
from slide_export.fleet.axes import ELSEWHERE, KINDS, NEVER, OF_SOURCE, Cell, _annotation, _excludes, cells
from slide_export.fleet.plan import Checkpoints, SweepPlan
from slide_export.fleet.sources import Source
from slide_export.workflows.options import ExportOptions

SOURCE = Source("0" * 64, "a.pth")


def made(own: dict[str, Any] | None = None, **parts: Any) -> list[Cell]:
    """Artifacts of one checkpoint that is named `a` and has options of its own."""
    entry = Checkpoints("a.pth", own or {})
    whole: dict[str, Any] = {"targets": ("onnx",), "precisions": ("fp32",), **parts}
    plan = SweepPlan("slide-export/plan/1", (entry,), **whole)
    return list(cells(plan, [("a", SOURCE, entry)], None))


def test_an_artifact_is_asked_for_of_each_combination() -> None:
    found = made(targets=("onnx", "openvino"), precisions=("fp32", "fp16"), options={"form": ("auto", "shifts")})
    assert len(found) == 8
    assert found[0].subject(["form"]) == "a onnx fp32 form=auto"
    assert found[-1].subject([]) == "a openvino fp16"
    assert found[-1].options == {"form": "shifts", "precision": "fp16", "name": "a"}


def test_a_checkpoints_own_options_win_and_it_is_prepared_with_those_of_a_model() -> None:
    (cell,) = made({"form": "shifts"}, options={"form": ("auto",), "softmax": (True,)})
    assert (cell.precision, cell.prepared_with()) == ("fp32", {"form": "shifts", "softmax": True})


def test_a_backends_options_go_to_the_backend_that_knows_them() -> None:
    found = made(targets=("onnx", "openvino"), options={"options": ({"static-batches": "8"},)})
    assert [cell.options["options"] for cell in found] == [{}, {"static-batches": "8"}]


@pytest.mark.parametrize(
    ("rule", "excluded"),
    [
        ({}, False),
        ({"target": "onnx"}, True),
        ({"target": "o*"}, True),
        ({"target": "openvino"}, False),
        ({"checkpoint": "runs-*", "precision": "fp16"}, True),
        ({"checkpoint": "runs-*", "precision": "fp32"}, False),
        ({"checkpoint": "a"}, False),
        ({"batch": 2}, True),
        ({"batch": 1}, False),
        ({"batch": "2"}, False),  # a number is no text
        ({"form": "shifts"}, False),  # an option that this artifact has not
        ({"softmax": True}, True),
    ],
)
def test_a_rule_excludes_where_all_that_it_names_is_so(rule: dict[str, Any], excluded: bool) -> None:
    options = {"precision": "fp16", "batch": 2, "softmax": True}
    assert _excludes(rule, "runs-a", "onnx", options) is excluded


def test_what_is_excluded_is_not_made_and_each_rule_takes_something_away() -> None:
    found = made(targets=("onnx", "openvino"), exclude=({"target": "openvino"},))
    assert [cell.target for cell in found] == ["onnx"]
    with pytest.raises(RequestError, match=r"found \{target: coreml\}, which none is"):
        made(exclude=({"target": "coreml"},))
    with pytest.raises(RequestError, match="found all of them excluded"):
        made(exclude=({"target": "onnx"},))
    with pytest.raises(RequestError, match="found 'tarjet': leave it out"):
        made(exclude=({"tarjet": "onnx"},))


@pytest.mark.parametrize("name", ELSEWHERE)
def test_an_option_that_is_the_plans_own_is_refused_with_its_place(name: str) -> None:
    with pytest.raises(RequestError, match=f"expected {name} as the plan's own {ELSEWHERE[name]}"):
        made(options={name: ("x",)})
    with pytest.raises(RequestError, match=f"expected {name} as the plan's own"):
        made({name: "x"})


@pytest.mark.parametrize("name", NEVER)
def test_an_option_that_no_sweep_has_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(RequestError, match=f"{name} is not available in a sweep: "):
        made(options={name: (True,)})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("batch", "2", "options.batch to be"),
        ("softmax", 1, "options.softmax to be"),
        ("form", 3, "options.form to be"),
        ("labels", "cat", "options.labels to be"),
        ("input_size", [64], "options.input_size"),
    ],
)
def test_a_value_of_another_type_is_refused(name: str, value: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        made(options={name: (value,)})


def test_a_combination_that_no_backend_offers_is_refused_with_a_way_out() -> None:
    with pytest.raises(RequestError, match=r"onnx int4 of the plan: .*; or leave it out with an entry in exclude"):
        made(precisions=("fp32", "int4"))
    with pytest.raises(RequestError, match="abacus"):
        made(targets=("abacus",))


def test_every_option_of_an_export_has_its_place() -> None:
    """One that is added is of the model, of the plan, never of a sweep, or of a target and its precision."""
    known = ExportOptions.__annotations__.keys()
    assert known >= OF_SOURCE | ELSEWHERE.keys() | NEVER.keys()
    of_an_artifact = {"options", "calibration_size", "mixed_base", "seed"}
    assert known - OF_SOURCE - ELSEWHERE.keys() - NEVER.keys() == of_an_artifact
    read = {name for name in known if _annotation(name) in KINDS}
    assert read >= {"form", "batch", "softmax", "image_count", "input_size", "labels", "values"}
