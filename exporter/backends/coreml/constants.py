"""The constants of a package as CoreML expands them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from slide_export.core.artifact import Array
from slide_export.core.stored import StoredConstant, from_table, rounded_float, stepped

from .package import read_package

if TYPE_CHECKING:
    from slide_export.mil import Package
    from slide_export.mil.program import Operation

FLOATS = {"fp16": "float16", "fp32": "float32"}


def stored(path: Path, settings: Mapping[str, Any]) -> Iterator[StoredConstant]:
    """Every float constant of a package, and every compressed one.

    1. constexpr_affine_dequantize (before iOS18) and constexpr_blockwise_shift_scale: scale * (data - zero point).
    2. constexpr_lut_to_dense: an entry of its table.
    3. A float `const`: as it is. Integers are shapes and axes, which the module's program has no names for.

    Raises:
        BundleError: the package cannot be read.
    """
    package = read_package(path)
    modules = package.modules()
    for operation in package.operations():
        if operation.is_constant and (found := _tensor(package, operation, modules.get(operation.name, ""))):
            yield found


def _tensor(package: Package, operation: Operation, module: str) -> StoredConstant | None:
    given = dict(operation.bindings())
    name, kind = operation.outputs[0].name, operation.outputs[0].type.element
    if "quantized_data" in given or (operation.type == "constexpr_blockwise_shift_scale"):
        data = _array(package, given["quantized_data" if "quantized_data" in given else "data"])
        scale = _array(package, given["scale"]).astype(np.float64)
        zero = next((_array(package, given[key]) for key in ("zero_point", "offset") if key in given), np.zeros(()))
        axis = int(_array(package, given["axis"])) if "axis" in given else None
        rounded = FLOATS[given["scale"][0].type.element]  # type: ignore[union-attr]  # a scale is a literal
        scale, zero = _along(scale, data, axis), _along(zero, data, axis)
        return stepped(name, str(data.dtype), data, scale, zero, module, rounded)
    if "lut" in given:
        from slide_export.mil.arguments import Arguments
        from slide_export.mil.compression import TABLE

        groups = {key: [package.value(value) for value in values] for key, values in given.items()}  # type: ignore[arg-type]
        values: Any = TABLE[operation.type].compute(Arguments(operation, groups))
        return from_table(name, "uint8", values.numpy(), _array(package, given["lut"]), module)
    if operation.type != "const" or kind not in FLOATS:
        return None
    return rounded_float(name, FLOATS[kind], _array(package, given["val"]), module)


def _array(package: Package, bindings: Any) -> Array:
    values: Any = package.value(bindings[0])
    return np.asarray(values.numpy() if hasattr(values, "numpy") else values)


def _along(values: Array, data: Array, axis: int | None) -> Array:
    """Scales or zero points in a shape that broadcasts to the data; block by block where there is no axis."""
    values = values.astype(np.float64)
    if axis is not None:
        return values.reshape([-1 if index == axis % data.ndim else 1 for index in range(data.ndim)])
    for index, (side, blocks) in enumerate(zip(data.shape, values.shape, strict=False)):
        values = values.repeat(side // blocks, index)
    return values
