"""Graph to graph, in this order. A pass is an onnx_ir pass: model -> result, which says whether it changed anything.

To add one: a file with its class, and its line in `PASSES`. Its docstring numbers the cases and shows one of them.
`keep_float` is not among them: the ONNX backend runs it on a quantized graph.
"""

import logging
from collections.abc import Sequence

import onnx
import onnx_ir as ir

from slide_export.graph.convert import to_ir, to_proto

from . import check, keep_batch, module_names, simplify, unwrap
from .weights import attach, detach

_log = logging.getLogger(__name__)

PASSES: tuple[ir.passes.PassBase, ...] = (
    unwrap.Unwrap(),  # first: the later passes and every message speak of the model's own names
    simplify.Simplify(),  # folds constants and shape arithmetic, so that the later passes see the graph that ships
    keep_batch.KeepBatch(),  # after folding, which leaves sizes of its own naming
    module_names.ModuleNames(),  # after folding: what is left gets the name of the PyTorch module that it came from
    check.Check(),  # last: judges what ships
)
MEASURED_ONLY = tuple(graph_pass for graph_pass in PASSES if not isinstance(graph_pass, check.Check))
"""For what does not ship: `F.unfold` becomes gathers and tensors of rank 6."""


def run(proto: onnx.ModelProto, passes: Sequence[ir.passes.PassBase] = PASSES) -> onnx.ModelProto:
    """The model after the passes; `proto` stays as it is.

    Raises:
        ExportError: see `simplify` and `check`.
    """
    model = to_ir(proto)
    large = detach(model)
    for graph_pass in passes:
        result = graph_pass(model)
        model = result.model
        _log.debug("%s %s", type(graph_pass).__name__, "changed the graph" if result.modified else "changed nothing")
    attach(model, large)
    return to_proto(model)
