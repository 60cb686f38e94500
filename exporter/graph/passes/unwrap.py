"""Names without the wrapper that the model is traced in, so that paths are the model's own."""

import onnx_ir as ir

from slide_export.graph.convert import rename

WRAPPER = {"/module/": "/", "module.": ""}
"""How the tracer spells `ExportWrapper.module`: in the values that nodes give, and in the weights."""


class Unwrap(ir.passes.InPlacePass):
    """Take the wrapper's attribute out of every name.

    1. A value or weight of the model: the wrapper's prefix goes.
    2. The wrapper has a value of that name itself, as where both hold a constant: an underscore keeps the two apart.
    3. Any other value, such as an input, an output or the wrapper's preprocessing: as it is.

        Given    images -> Conv(module.embed.weight) -> /module/embed/Conv_output_0
        Result   images -> Conv(embed.weight)        -> /embed/Conv_output_0
    """

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Rename in place."""
        graph = model.graph
        weights = tuple(graph.initializers.values())
        graph.initializers.clear()  # registered again in the same order: a rename moves an initializer to the end
        results = [value for node in graph for value in node.outputs if not value.is_graph_output()]
        values = [*weights, *(value for value in graph.inputs if value not in weights), *results]
        taken = {value.name for value in (*values, *graph.outputs)}
        modified = False
        for value in values:
            name = _plain(value.name or "")
            if name == value.name or not name:  # Case 3
                continue
            while name in taken:  # Case 2
                name += "_"
            taken.add(name)
            rename(value, name)  # Case 1
            modified = True
        for value in weights:
            graph.register_initializer(value)
        return ir.passes.PassResult(model, modified)


def _plain(name: str) -> str:
    for prefix, rest in WRAPPER.items():
        if name.startswith(prefix):
            return rest + name.removeprefix(prefix)
    return name
