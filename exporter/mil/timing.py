"""What each operation costs in the evaluator, and what kind of product it is."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping

from torch import Tensor

from slide_export.core.measurement import Product

from .evaluator import Evaluator
from .features import Array
from .package import Package
from .program import Operation, Reference


def spent_ms(evaluator: Evaluator, feeds: Mapping[str, Array]) -> dict[str, float]:
    """Milliseconds of each computed operation of one run, by its first result.

    The evaluator tells each result as soon as it is there: what passed since the one before is the operation's.
    """
    spent: Counter[str] = Counter()
    last = time.perf_counter_ns()

    def note(operation: Operation, name: str, value: Tensor) -> None:
        """Charge the time since the last operation to this one."""
        nonlocal last
        now = time.perf_counter_ns()
        spent[operation.outputs[0].name] += now - last
        last = now

    evaluator.run(feeds, observe=note)
    return {name: ns / 1e6 for name, ns in spent.items()}


def products(package: Package) -> dict[str, Product | None]:
    """Kind of product that makes each value, None where none does.

    A convolution is dense where it has one group and takes every input once, as a linear layer over patches does.
    """
    types = dict(package.program.inputs)
    types |= {output.name: output.type for operation in package.operations() for output in operation.outputs}
    constants = {
        output.name for operation in package.operations() if operation.is_constant for output in operation.outputs
    }

    def shape(operation: Operation, parameter: str) -> list[int]:
        """Declared shape of an operand, 0 for an open size."""
        (operand,) = operation.inputs[parameter]
        declared = types[operand.name] if isinstance(operand, Reference) else operand.type
        return [size or 0 for size in declared.shape]  # 0 where it is open, as the batch is

    def product(operation: Operation) -> Product | None:
        """Kind of an operation's product (see `Product`), None where it multiplies no matrices."""
        if operation.type in ("linear", "matmul"):
            operands = (operation.inputs[name][0] for name in ("x", "y") if name in operation.inputs)
            variable = [one for one in operands if isinstance(one, Reference) and one.name not in constants]
            return "activations" if len(variable) == 2 else "dense"
        if operation.type == "scaled_dot_product_attention":
            return "activations"
        if operation.type != "conv":
            return "spatial" if operation.type == "conv_transpose" else None
        images, kernel, result = shape(operation, "x"), shape(operation, "weight"), operation.outputs[0].type.shape
        once = math.prod(images[2:]) == math.prod(size or 0 for size in result[2:]) * math.prod(kernel[2:])
        return "dense" if images[1] == kernel[1] and once else "spatial"

    computed = (operation for operation in package.operations() if not operation.is_constant and operation.outputs)
    return {operation.outputs[0].name: product(operation) for operation in computed}
