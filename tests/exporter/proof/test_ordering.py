"""A model that sorts is proved under the artifact's own orders: what ties passes, a wrong order or weight does not."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from torch import nn

from slide_export.backends import onnx as backend
from slide_export.calibration.fp16 import to_half
from slide_export.calibration.quantization import NumericFormat
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import ParityError
from slide_export.core.graph import OnnxGraph
from slide_export.core.precision import FP16, FP32, Precision
from slide_export.core.proof import Acceptance, Flip, ParityReport, Reference
from slide_export.graph import export as onnx_graph
from slide_export.inference.fuse import fuse
from slide_export.inference.served import ServedModel
from slide_export.models.sorting import round_names
from slide_export.proof import gate, parity
from slide_export.proof.ordering import Ordering, ordering
from slide_export.proof.orders_inside import open_orders
from slide_export.proof.reference import truth, with_floor
from tests.exporter.proof import sorting_toy

LAYER = "attn.bisection"
TIGHT = 1e-4  # of the outputs' spread: without orders in it, a float32 limit is near 1e-5


@pytest.fixture(scope="module")
def served() -> ServedModel:
    return sorting_toy.served()


@pytest.fixture(scope="module")
def graph(served: ServedModel) -> OnnxGraph:
    return onnx_graph.export(replace(served, module=fuse(served.trained).module))


def reference(served: ServedModel, *, flat: bool, precision: Precision = FP32) -> Reference:
    shown = sorting_toy.pictures(flat=flat)
    found = truth(served, "drawn", tuple(map(str, range(len(shown)))), [shown])
    return with_floor(served, found, NumericFormat(precision))


def order_of(served: ServedModel, expected: Reference, path: Path, precision: Precision = FP32) -> Ordering:
    found = ordering(served, expected, NumericFormat(precision), partial(open_orders, backend, path, None, {}))
    assert found is not None
    return found


def prove(
    served: ServedModel, proto: onnx.ModelProto, directory: Path, *, flat: bool, precision: Precision = FP32
) -> ParityReport:
    path, expected = directory / "model.onnx", reference(served, flat=flat, precision=precision)
    path.write_bytes(proto.SerializeToString())
    accepted = parity.accepted(precision)
    ordered = order_of(served, expected, path, precision)
    return parity.check(expected, backend.Session(path, {}), None, decision_axis=1, accepted=accepted, ordering=ordered)


@pytest.mark.parametrize("flat", [False, True])
def test_an_artifact_passes_within_a_limit_that_no_order_is_in(
    flat: bool, served: ServedModel, graph: OnnxGraph, tmp_path: Path
) -> None:
    proof = prove(served, graph.proto, tmp_path, flat=flat)
    assert proof.passed
    assert proof.spread is not None
    assert proof.outputs[0].limit_max <= TIGHT * proof.spread
    (order,) = proof.orders
    assert order.layer == LAYER
    assert order.tokens == (1 + 2 + 3 + 8) * sorting_toy.HEADS * 2 * sorting_toy.SIDE**2
    assert (order.moved > 0.01) == flat


def test_keys_that_tie_would_be_refused_without_the_artifacts_order(
    served: ServedModel, graph: OnnxGraph, tmp_path: Path
) -> None:
    proof = prove(served, graph.proto, tmp_path, flat=True)
    assert proof.passed
    assert proof.reordered is not None
    assert proof.reordered > proof.outputs[0].limit_max  # the reference under its own order is farther away
    plain = parity.check(
        reference(served, flat=True), backend.Session(tmp_path / "model.onnx", {}), None, decision_axis=1
    )
    assert not plain.passed


def test_fp16_sorts_in_float32_and_passes(served: ServedModel, graph: OnnxGraph, tmp_path: Path) -> None:
    half = to_half(graph)
    kinds = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(half.proto).graph.value_info
    }
    sorted_by = [node.input[0] for node in half.proto.graph.node if node.op_type == "TopK" and "rounds" in node.name]
    assert len(sorted_by) == 2
    assert {kinds[name] for name in sorted_by} == {onnx.TensorProto.FLOAT}
    assert prove(served, half.proto, tmp_path, flat=True, precision=FP16).passed


def largest_first(proto: onnx.ModelProto) -> None:
    """The first round sorts the other way round."""
    node = next(node for node in proto.graph.node if node.op_type == "TopK" and "rounds.0" in node.name)
    next(attribute for attribute in node.attribute if attribute.name == "largest").i = 1


def one_swap(proto: onnx.ModelProto) -> None:
    """Each key of the first round is replaced by its absolute difference from 1: sorted, but by other keys."""
    node = next(node for node in proto.graph.node if node.op_type == "TopK" and "rounds.0" in node.name)
    index = list(proto.graph.node).index(node)
    proto.graph.initializer.append(numpy_helper.from_array(np.float32(1), "one_"))
    proto.graph.node.insert(index, onnx.helper.make_node("Sub", [node.input[0], "one_"], ["less_"]))
    proto.graph.node.insert(index + 1, onnx.helper.make_node("Abs", ["less_"], ["away_"]))
    node.input[0] = "away_"


def back_in_another_order(proto: onnx.ModelProto) -> None:
    """Sorts as it should, and puts the attended tokens back where they do not belong."""
    node = next(n for n in proto.graph.node if n.op_type == "TopK" and "rounds" not in n.name)
    next(attribute for attribute in node.attribute if attribute.name == "largest").i = 1


def one_weight(proto: onnx.ModelProto) -> None:
    """One weight behind the sort is off by a percent."""
    tensor = next(value for value in proto.graph.initializer if value.name == "head.weight")
    value = numpy_helper.to_array(tensor).copy()
    value.flat[np.abs(value).argmax()] *= 1.01
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (largest_first, f"expected {LAYER} to sort by its keys"),
        (one_swap, f"expected {LAYER} to sort by its keys"),
        (back_in_another_order, "expected logits within"),
        (one_weight, "expected logits within"),
    ],
)
@pytest.mark.parametrize("flat", [False, True])
def test_a_planted_fault_is_refused(
    plant: Callable[[onnx.ModelProto], None],
    told: str,
    flat: bool,
    served: ServedModel,
    graph: OnnxGraph,
    tmp_path: Path,
) -> None:
    proto = copy.deepcopy(graph.proto)
    plant(proto)
    proof = prove(served, proto, tmp_path, flat=flat)
    assert not proof.passed
    assert gate.explain(proof, FP32).startswith(told)


class Told:
    """Orders that no artifact sorted."""

    evaluator = "a fake"

    def __init__(self, orders: Callable[[int], dict[str, np.ndarray]]) -> None:
        self.orders = orders

    def run(self, feeds: Feeds) -> Outputs:
        return self.orders(len(feeds["images"]))


def test_orders_with_a_token_twice_are_refused(served: ServedModel) -> None:
    expected, tokens = reference(served, flat=False), sorting_toy.SIDE**2
    (rounds,) = round_names(served.module).values()

    def orders(count: int) -> dict[str, np.ndarray]:
        found = np.tile(np.arange(tokens), (count, sorting_toy.HEADS, 1))
        found[..., 0] = 1
        return dict.fromkeys(rounds, found)

    found = Ordering(served, expected, NumericFormat(), Told(orders)).expected(np.arange(2))
    assert all(check.strayed == sorting_toy.HEADS for check in found.checks[LAYER])  # 1 in place of 0, once a row
    assert not any(check.passed for check in found.checks[LAYER])


def test_orders_of_other_tokens_are_refused_by_name(served: ServedModel) -> None:
    (rounds,) = round_names(served.module).values()
    told = Told(lambda count: dict.fromkeys(rounds, np.zeros((count, 3, 5))))
    with pytest.raises(ParityError, match=r"an order of 196 tokens for each of 2 images in attn\.bisection\.rounds\.0"):
        Ordering(served, reference(served, flat=False), NumericFormat(), told).expected(np.arange(2))


def test_an_artifact_that_does_not_show_its_order_is_refused(
    served: ServedModel, graph: OnnxGraph, tmp_path: Path
) -> None:
    proto = copy.deepcopy(graph.proto)
    for node in proto.graph.node:
        node.name = node.name.replace("rounds", "hidden")
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ParityError, match=r"the order of attn\.bisection\.rounds\.0 inside the artifact"):
        order_of(served, reference(served, flat=False), path)


def test_golden_outputs_are_those_under_the_artifacts_orders(
    served: ServedModel, graph: OnnxGraph, tmp_path: Path
) -> None:
    path, expected = tmp_path / "model.onnx", reference(served, flat=True)
    path.write_bytes(graph.proto.SerializeToString())
    ordered = order_of(served, expected, path)
    session = backend.Session(path, {})
    proof = parity.check(expected, session, None, decision_axis=1, ordering=ordered)
    golden = ordered.golden(3, None)
    assert len(golden.images) == len(golden.exact["logits"]) == len(golden.feeds["images"]) == 3
    alone = parity.check(golden, session, None, decision_axis=1)  # as a bundle is verified without its checkpoint
    assert alone.passed
    assert alone.outputs[0].limit_max <= 2 * proof.outputs[0].limit_max


def test_a_confident_answer_that_only_an_order_changes_is_refused() -> None:
    flip = Flip("sky.jpg", 1, 2, margin=1.5)
    kept = {"evaluator": "", "source": "", "images": 1, "batch_sizes": (1,), "outputs": (), "top1": 1.0, "flips": ()}
    accepted = Acceptance(8.0, sure_margin=1.0)
    sure, unsure = (
        ParityReport(**kept, accepted=accepted, spread=spread, reordered_flips=(flip,))  # type: ignore[arg-type]
        for spread in (1.0, 2.0)
    )
    assert not sure.passed
    assert unsure.passed


def test_a_model_that_sorts_nothing_is_not_looked_into() -> None:
    plain = sorting_toy.served()
    plain = replace(plain, module=nn.Identity())

    def refuse(_rounds: object) -> None:
        raise AssertionError

    assert ordering(plain, None, NumericFormat(), refuse) is None  # type: ignore[arg-type]
