"""What the terminal shows."""

import logging
from dataclasses import replace

import pytest

from slide_export.api import inspect, targets
from slide_export.backends import registry
from slide_export.backends.interface import Availability, Option
from slide_export.bundle.store import Bundle
from slide_export.calibration.sensitivity import MixedSearch
from slide_export.checkpoint.variants import Counts, Entry, Proof
from slide_export.cli.console import (
    Steps,
    show_demo,
    show_every_target,
    show_export,
    show_inspection,
    show_parity,
    show_targets,
    show_variants,
)
from slide_export.core.errors import BundleError, option
from slide_export.core.model import Model
from slide_export.models import Published
from slide_export.workflows.all_targets import TargetResult
from slide_export.workflows.demo import DemoRow


def test_steps_say_what_ended_and_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    with Steps() as step:
        with step("load"):
            pass
        with pytest.raises(ValueError, match="no"), step("break"):
            raise ValueError("no")
    shown = capsys.readouterr().err
    assert "✓ load" in shown
    assert "✗ break" in shown


def test_steps_show_what_a_stage_warns_of(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger("slide_export.somewhere")
    with Steps() as step, step("build"):
        log.info("phase one")
        log.warning("the builder says [so]")
    log.warning("after the end")
    shown = capsys.readouterr().err
    assert "! the builder says [so]" in shown
    assert "after the end" not in shown


@pytest.mark.parametrize("kept", [(), ("layers.0.mlp", "head")])
def test_a_mixed_export_says_what_was_kept_and_what_it_bought(
    kept: tuple[str, ...], onnx_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    search = MixedSearch("int8", (), kept, "top-1 90.00% [before]", "top-1 99.00% [after]")
    show_export(replace(onnx_bundle.manifest, mixed=search))
    shown = capsys.readouterr().err
    if not kept:
        assert "kept in float: nothing, every layer in int8 reaches the goal" in shown
        return
    assert "kept in float: layers.0.mlp, head" in shown
    assert "every layer in int8: top-1 90.00% [before]" in shown
    assert "with these in float: top-1 99.00% [after]" in shown


def test_inspection_shows_drift_and_counts(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    show_inspection(inspect(model.provenance.path))
    shown = capsys.readouterr().out
    assert "layers.1.blocks.1.attn" in shown
    assert "multiply-adds" in shown


def test_targets_show_the_install_command_of_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    from dataclasses import replace

    found = [replace(target, missing=("x",)) for target in targets()]
    show_targets(found)
    shown = capsys.readouterr().out
    assert 'onnx is not installed: pip install "slide-export[onnx]"' in shown
    assert "nothing" in shown


def test_demo_shows_accuracies_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    show_demo([DemoRow("PyTorch", 0.99), DemoRow("onnx fp32", 0.98), DemoRow("abacus", None, absent="buy one")])
    shown = capsys.readouterr().out
    assert "99.0%" in shown
    assert "98.0%" in shown
    assert "not installed: buy one" in shown


def test_targets_show_options_and_why_one_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    option = Option("a", "what it does", ("a", "b"))
    show_targets([Availability("abacus", ("fp32",), {"beads": "1.0"}, (), "", "no table here", {"speed": option})])
    shown = capsys.readouterr().out
    assert "its graph" in shown
    assert "abacus does not run here: no table here" in shown
    assert "what it does: a, b" in shown


def test_variants_show_both_figures_the_source_and_the_proofs(capsys: pytest.CaptureFixture[str]) -> None:
    made = Proof(130.0, "ONNX Runtime")
    proof = {target: {"fp32": made} for target in registry.names()}
    proof["onnx"]["fp16"] = made
    published = Published(12.2, 2.0, 78.0, "a table [1]")
    known = Entry("slide_pvt", "slide_pvt_tiny", (224, 224), Counts(12_234_340, 2_121, 2_016_000_000), published, proof)
    show_variants([known, Entry("slide_pvt", "slide_pvt_medium", (224, 256), Counts(1, 2, 3), None, {})])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split("78.0 [1]")[0].split() == ["slide_pvt_tiny", "224x224", "12.2", "12.2", "2.02", "2.0"]
    assert lines[2].split("78.0 [1]")[1].strip() == "fp16: onnx; fp32: all"
    assert lines[3].split() == ["slide_pvt_medium", "224x256", "0.0", "-", "0.00", "-", "-", "-"]
    assert "[1] a table [1]" in lines


def test_brackets_in_a_message_and_in_a_name_are_no_markup(
    onnx_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    show_every_target([TargetResult("openvino", 3, 'pip install "slide-export[openvino]"', 1.0, None)])
    show_parity("digits[v2]-onnx-fp32", onnx_bundle.manifest.parity)
    shown = capsys.readouterr().err
    assert 'openvino: pip install "slide-export[openvino]"' in shown
    assert "digits[v2]-onnx-fp32" in shown


def test_a_targets_refusal_names_options_as_flags(capsys: pytest.CaptureFixture[str]) -> None:
    refused = TargetResult.failed("onnx", BundleError(f"the bundle exists: add {option('overwrite')}"))
    assert refused.message.endswith("add overwrite")
    show_every_target([refused])
    assert "onnx: the bundle exists: add --overwrite" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["[/]/1", "[/red]", "[bold]x[/bold]", "\x1b[2J", "a\nb"])
def test_a_stage_is_shown_as_it_is_called(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Steps() as step, step(f"verify {name}"):
        logging.getLogger("slide_export").warning("%s was seen", name)
    shown = capsys.readouterr().err
    written = name.replace("\x1b", "\\x1b").replace("\n", "\\n")
    assert f"✓ verify {written}" in shown
    assert f"! {written} was seen" in shown
    assert "\x1b[2J" not in shown
