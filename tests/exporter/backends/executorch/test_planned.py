"""Memory is planned for the largest batch, though lowering has narrowed what it believes of it."""

import pytest
import torch
from torch import nn
from torch.utils._sympy.value_ranges import ValueRanges

pytest.importorskip("executorch", reason="executorch is not installed")

from slide_export.backends.executorch.planned import planned_for
from slide_export.backends.executorch.vendor import quiet


@pytest.mark.parametrize(("step", "planned"), [(1, [8, 3]), (2, [16, 3])])
def test_a_narrowed_batch_is_planned_at_its_bound(step: int, planned: list[int]) -> None:
    with quiet():
        from executorch.exir.tensor import TensorSpec
    axis = torch.export.Dim("batch", min=1, max=8)
    program = torch.export.export(
        nn.ReLU(), (torch.zeros(2 * step, 3),), dynamic_shapes=({0: axis if step == 1 else step * axis},)
    )
    nodes = [node for node in program.graph.nodes if node.op in ("placeholder", "call_function")]
    for node in nodes:
        node.meta["spec"] = TensorSpec.from_tensor(node.meta["val"])
    size = nodes[0].meta["val"].shape[0].node
    (symbol,) = size.expr.free_symbols
    size.shape_env.var_to_range[symbol] = ValueRanges(2, 7)
    planned_for(8).call(program.graph_module)
    assert [list(node.meta["spec"].shape) for node in nodes] == [planned, planned]
