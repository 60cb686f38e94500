"""Core AI's own packages: what is imported of them to read a saved program.

coreai-core 1.0.0b3 and coreai-torch 0.4.3 are a beta. What has no public name, a program's operations above all, is
reached here and in `convert.py` alone, so that a later release is two files' work.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Operation:
    """One operation of a program.

    Attributes:
        name: Core AI's, "coreai.gelu".
        takes, gives: types of its values, "tensor<?x10xf32>".
        value: of a constant, what it stores; None of any other.
    """

    name: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    value: Any = None


def save_widened(path: Path, wide: Path) -> None:
    """Write an asset's program in float32 as another asset; see `wide`.

    Raises:
        RuntimeError, ValueError: it is none, or cannot be written so.
    """
    from coreai._compiler.ir import Module
    from coreai.authoring import AIModelAsset, AIProgram
    from coreai.authoring.context import Context

    from .wide import widened

    read = AIModelAsset.load(path).program._module._mlir_module
    text = widened(str(read.operation.get_asm(large_elements_limit=None, enable_debug_info=False)))
    made = Module.parse(text, Context()._mlir_context)
    AIProgram._from_mlir_module(made).save_asset(wide)


def operations(path: Path) -> Iterator[Operation]:
    """Every operation of a saved program, in the order of its text.

    Raises:
        RuntimeError: it is none.
    """
    from coreai.authoring import AIModelAsset

    program = AIModelAsset.load(path).program
    for function in program._module._mlir_module.body.operations:
        yield from _inside(function)


def _inside(operation: Any) -> Iterator[Operation]:
    for region in operation.regions:
        for block in region.blocks:
            for one in block.operations:
                found = one.operation
                value = found.attributes["value"] if found.name == "coreai.constant" else None
                takes = tuple(str(operand.type) for operand in found.operands)
                yield Operation(found.name, takes, tuple(str(result.type) for result in found.results), value)
                yield from _inside(found)
