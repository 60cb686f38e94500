"""Targets are found by their files; what is asked of one is refused with what it has, before anything is imported."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from slide_export.backends import optional, registry
from slide_export.backends.interface import Availability, Option
from slide_export.core.errors import BackendUnavailable, RequestError


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A backend `toy` of nothing but what every one has."""
    backend = SimpleNamespace(
        __name__="slide_export.backends.toy",
        PRECISIONS={"fp32": False, "fp16": True},
        DISTRIBUTIONS=(("no-such-package", "pytest"), "numpy"),
        OPTIONS={"speed": Option("1", "how fast", ("1", "2")), "note": Option("", "any text")},
    )
    monkeypatch.setattr(registry, "load", lambda _target: backend)
    return backend


def test_targets_are_sorted_and_the_packages_own_files_are_none() -> None:
    found = registry.names()
    assert list(found) == sorted(found)
    assert not registry.OURS & set(found)
    assert {"onnx", "openvino", "coreml"} <= set(found)
    with pytest.raises(RequestError, match=rf"expected a target of {', '.join(found)}; found 'interface'"):
        registry.load("interface")


def test_one_of_several_packages_is_enough(toy: SimpleNamespace) -> None:
    here = registry.availability("toy")
    assert (here.missing, here.obstacle, set(here.versions)) == ((), None, {"pytest", "numpy"})
    assert (here.precisions, here.runs, here.ready) == (("fp32", "fp16"), True, True)
    toy.DISTRIBUTIONS = (("no-such-package", "nor-this"), "numpy")
    absent = registry.availability("toy")
    assert (absent.missing, absent.obstacle, absent.ready) == (("no-such-package",), "not installed", False)
    assert absent.install == 'pip install "slide-export[toy]"'


def test_what_a_target_lacks_is_refused_by_name(toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registry.require("toy", "fp16") is toy
    with pytest.raises(RequestError, match="expected a precision of fp32, fp16 for toy; found 'int8'"):
        registry.require("toy", "int8")
    toy.precision_obstacle = lambda precision: "an old processor" if precision == "fp16" else None
    assert registry.require("toy", "fp32") is toy
    with pytest.raises(BackendUnavailable, match="computes in fp16 for toy, found this one: an old processor"):
        registry.require("toy", "fp16")
    toy.DISTRIBUTIONS = ("no-such-package", "nor-this")
    with pytest.raises(BackendUnavailable, match=r"expected no-such-package and nor-this for the target toy, found"):
        registry.require("toy", "fp32")


def test_an_environment_of_its_own_is_needed_to_convert_and_not_to_run(
    toy: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = registry.availability("toy")
    monkeypatch.setattr(registry, "availability", lambda _target: replace(told, environment=False))
    assert registry.require("toy", "fp32") is toy
    with pytest.raises(BackendUnavailable, match="the environment of its own that toy is converted in"):
        registry.require_export("toy", "fp32")
    monkeypatch.setattr(registry, "availability", lambda _target: replace(told, environment=True))
    assert registry.require_export("toy", "fp32") is toy


@pytest.mark.parametrize(
    ("given", "told"),
    [({}, {"speed": "1", "note": ""}), ({"speed": "2", "note": "x"}, {"speed": "2", "note": "x"})],
)
def test_options_are_completed(given: dict[str, str], told: dict[str, str], toy: SimpleNamespace) -> None:
    assert registry.complete_options("toy", given) == told


def test_an_option_or_value_that_is_none_is_refused(toy: SimpleNamespace) -> None:
    with pytest.raises(RequestError, match="expected an option of speed, note for toy; found 'sped'"):
        registry.complete_options("toy", {"sped": "1"})
    with pytest.raises(RequestError, match="expected speed to be one of 1, 2; found '3'"):
        registry.complete_options("toy", {"speed": "3"})
    toy.OPTIONS = {}
    with pytest.raises(RequestError, match="expected an option of none for toy"):
        registry.complete_options("toy", {"speed": "1"})


def test_auto_is_what_most_runtimes_run_well_unless_a_backend_says_otherwise(toy: SimpleNamespace) -> None:
    assert (registry.default_form("toy"), registry.default_sampling("toy")) == ("taps", "hats")
    toy.DEFAULT_FORM, toy.DEFAULT_SAMPLING = "grouped", "grid_sample"
    assert (registry.default_form("toy"), registry.default_sampling("toy")) == ("grouped", "grid_sample")


def test_the_parts_of_availability_agree(toy: SimpleNamespace) -> None:
    found: Any = registry.availability("toy")
    assert isinstance(found, Availability)
    assert found.options is toy.OPTIONS
    assert optional.name_of(toy) == found.target == "toy"  # type: ignore[arg-type]
