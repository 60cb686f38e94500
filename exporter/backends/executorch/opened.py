"""A copy of a program that returns what its parts hand on: each such value is cloned, and the clones are its outputs.

    Given    "0.1", and a plan  0: part 0 (images) -> x    1: layer_norm (x) -> y      outputs: logits
    Result   a plan  0: part 0 (images) -> x    1: clone (x) -> copy    2: layer_norm  outputs: copy

ExecuTorch's own tracer keeps such values too, but none of float16, and all of them where one is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.core.errors import BundleError
from slide_export.core.text import foreign

from .program import SCALARS
from .vendor import quiet

ALIGNMENT = 16  # of a tensor's memory, as ExecuTorch plans it
CLONE = ("dim_order_ops::_clone_dim_order", "out")


def opened(path: Path, names: Sequence[str]) -> bytes:
    """Bytes of a program that returns other values than the saved one.

    Args:
        names: of the values, "INSTRUCTION.PLACE" as `shown` has them, in the order of the new outputs.

    Raises:
        BundleError: the file is no program, or has no such value.
    """
    with quiet():
        from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary

        try:
            file = deserialize_pte_binary(path.read_bytes())
            _open(file.program.execution_plan[0], [_place(name) for name in names])
            return bytes(serialize_pte_binary(file, extract_delegate_segments=True))
        except Exception as error:  # a flatbuffer's reader raises whatever it stumbles over
            asked = foreign(", ".join(names))
            raise BundleError(
                f"expected an ExecuTorch program that hands on {asked}, {path.name} is none: {error}"
            ) from error


def _place(name: str) -> tuple[int, int]:
    instruction, place = map(int, name.split("."))
    if instruction < 0 or place < 0:
        raise ValueError("places are counted from 0")
    return instruction, place


def _open(plan: Any, places: Sequence[tuple[int, int]]) -> None:
    """Change a plan in place; all copies lie in one buffer more, which nothing else is planned into."""
    from executorch.exir.schema import Operator

    plan.operators.append(Operator(*CLONE))
    plan.non_const_buffer_sizes.append(0)
    (chain,) = plan.chains
    copies = [_copy(plan, chain.instructions, instruction, place) for instruction, place in places]
    for (instruction, _), copy in sorted(zip(places, copies, strict=True), key=lambda one: one[0], reverse=True):
        chain.instructions.insert(instruction + 1, copy)
    plan.outputs = [copy.instr_args.args[-1] for copy in copies]


def _copy(plan: Any, instructions: Sequence[Any], instruction: int, place: int) -> Any:
    """An instruction that clones a value of another one."""
    from executorch.exir.schema import AllocationDetails, Bool, EValue, Instruction, KernelCall, Null

    source = _value(plan, instructions[instruction].instr_args, place)
    given = plan.values[source].val
    used = plan.non_const_buffer_sizes[-1]
    where = AllocationDetails(len(plan.non_const_buffer_sizes) - 1, used & 0xFFFFFFFF, used >> 32)
    size = math.prod(given.sizes) * np.dtype(SCALARS[given.scalar_type.name]).itemsize
    plan.non_const_buffer_sizes[-1] = used + math.ceil(size / ALIGNMENT) * ALIGNMENT
    blocking, order, copy = (len(plan.values) + index for index in range(3))
    plan.values += [EValue(Bool(False)), EValue(Null()), EValue(replace(given, allocation_info=where))]
    return Instruction(KernelCall(len(plan.operators) - 1, [source, blocking, order, copy, copy]))


def _value(plan: Any, call: Any, place: int) -> int:
    """Index of a value: any argument of a part, and what an operator returns, which is its last argument."""
    if hasattr(call, "delegate_index"):
        return int(call.args[place])
    returned = plan.values[call.args[-1]].val
    return int([*getattr(returned, "items", call.args[-1:])][place])
