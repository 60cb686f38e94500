"""Core AI's own packages: what is imported of them, without what they say of themselves.

coreai-core 1.0.0b3 and coreai-torch 0.4.3 are a beta. What has no public name, a program's operations above all, is
reached here alone, so that a later release is one file's work.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch.export import ExportedProgram


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep advice on versions, on torch's own parts and a progress bar off the terminal."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # coreai-torch takes torch 2.13.0+cpu for newer than 2.13.0
        yield


def converted(program: ExportedProgram, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Core AI's program of an exported one, without the paths of the sources that it was traced in."""
    with quiet():
        from coreai_torch import TorchConverter, get_decomp_table

        converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
        decomposed = program.run_decompositions(get_decomp_table())
        converter.add_exported_program(decomposed, input_names=inputs, output_names=outputs)
        return converter.to_coreai()


def save(program: Any, path: Path) -> None:
    """Write a program as an asset.

    Raises:
        RuntimeError: Core AI refuses it.
    """
    program.save_asset(path)


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


def functions(program: Any) -> tuple[str, ...]:
    """Names of a program's functions: `main`, and those that it calls."""
    module = program._module._mlir_module
    return tuple(str(one.attributes["sym_name"]).strip('"') for one in module.body.operations)


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
