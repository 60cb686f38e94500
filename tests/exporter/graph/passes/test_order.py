"""The passes in their order: one line in `PASSES` each, a result that says what happened, an argument left alone."""

import logging

import onnx
import onnx_ir as ir
import pytest

from slide_export.graph import passes
from tests.exporter.graph.passes.test_unwrap import wrapped


class Rename(ir.passes.InPlacePass):
    """A pass of somebody's own."""

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        model.graph.name = "renamed"
        return ir.passes.PassResult(model, modified=True)


def test_the_argument_stays_as_it_was() -> None:
    proto = wrapped()
    made = passes.run(proto)
    assert proto == wrapped()
    assert [node.name for node in made.graph.node] == ["/head/Mul", "/head/Add"]  # 2 times 3 is folded
    onnx.checker.check_model(made, full_check=True)


def test_a_pass_is_a_class_and_a_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "slide_export"):
        made = passes.run(wrapped(), (*passes.MEASURED_ONLY, Rename(), passes.PASSES[-1]))
    assert made.graph.name == "renamed"
    assert [record.message for record in caplog.records][-2:] == [
        "Rename changed the graph",
        "Check changed nothing",
    ]


def test_every_pass_numbers_its_cases_and_shows_one() -> None:
    for graph_pass in passes.PASSES:
        said = type(graph_pass).__doc__ or ""
        assert "    1. " in said, type(graph_pass).__name__
        assert "Given " in said, type(graph_pass).__name__
        assert "Result " in said, type(graph_pass).__name__
