"""An ML Program as frozen values: what a saved package says, with nothing of protobuf or coremltools left in it.

Names of element types are the ones MIL's text form uses (`fp16`, `int32`, `uint4`, ...).

Source: the message definitions compiled into coremltools 9.0, `coremltools/proto/MIL_pb2.py` and `FeatureTypes_pb2.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch

Value = torch.Tensor | str | list[str] | list[int]
"""What a name stands for while a program runs. Floats are held as float32 whatever the program declares."""

STORAGE: Mapping[str, torch.dtype] = {
    "bool": torch.bool,
    "fp16": torch.float32,
    "fp32": torch.float32,
    "fp64": torch.float32,
    "int4": torch.int8,
    "int8": torch.int8,
    "int16": torch.int16,
    "int32": torch.int32,
    "int64": torch.int64,
    "uint1": torch.uint8,
    "uint2": torch.uint8,
    "uint3": torch.uint8,
    "uint4": torch.uint8,
    "uint6": torch.uint8,
    "uint8": torch.uint8,
    # torch has few kernels for unsigned types above 8 bits; the next wider signed type holds every value.
    "uint16": torch.int32,
    "uint32": torch.int64,
    "uint64": torch.int64,
}
FLOAT_TYPES = frozenset({"fp16", "fp32", "fp64"})


@dataclass(frozen=True)
class MilType:
    """The type a program declares for one value.

    Attributes:
        element: element type, or `list` / `dict` for the values that only `classify` uses.
        shape: one entry a dimension; None is a dimension known only when the program runs.
    """

    element: str
    shape: tuple[int | None, ...] = ()

    def __str__(self) -> str:
        dims = ", ".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.element}[{dims}]"


@dataclass(frozen=True)
class Literal:
    """A value written in the program itself or in its weight file.

    Attributes:
        type: the declared type.
        value: the decoded value; None until it is read from `file`.
        file: path below the package's model directory, empty for immediate values.
        offset: byte offset of the entry's metadata in that file.
    """

    type: MilType
    value: Value | None = None
    file: str = ""
    offset: int = 0


@dataclass(frozen=True)
class Reference:
    """The use of an earlier output, or of an input of the program, by name."""

    name: str


Binding = Literal | Reference


@dataclass(frozen=True)
class Output:
    """One result of an operation."""

    name: str
    type: MilType


@dataclass(frozen=True)
class Operation:
    """One statement of the program.

    Attributes:
        type: operation type, `conv` for instance.
        name: the statement's own name (not the name of its result).
        inputs: bindings per parameter; only variadic parameters have more than one.
        attributes: literals per parameter: `val` of a `const`, all operands of the iOS16 `constexpr_*`.
        outputs: results in order.
        has_blocks: the statement has nested blocks (control flow).
    """

    type: str
    name: str
    inputs: Mapping[str, tuple[Binding, ...]]
    attributes: Mapping[str, Literal]
    outputs: tuple[Output, ...]
    has_blocks: bool = False

    def __str__(self) -> str:
        return f"{self.type} {self.name!r}"

    @property
    def is_constant(self) -> bool:
        """Whether the result depends on no input of the program."""
        return self.type == "const" or self.type.startswith("constexpr_")

    def bindings(self) -> Iterator[tuple[str, tuple[Binding, ...]]]:
        """Operands by parameter name, wherever the program's generation keeps them."""
        yield from self.inputs.items()
        yield from ((name, (literal,)) for name, literal in self.attributes.items() if name != "name")


@dataclass(frozen=True)
class Feature:
    """An input or an output of the model, as the model's interface describes it.

    Attributes:
        name: feature name; also the name of the program's value.
        kind: `array`, `image`, `dictionary`, `scalar` (a label) or `state`.
        element: element type of an array.
        shape: default shape; an image's is (1, C, H, W); empty where the interface leaves it open.
        ranges: (lowest, highest) size a dimension, for flexible shapes; highest -1 is unbounded.
        choices: the permitted shapes, where they are enumerated.
        color: `rgb`, `bgr` or `gray`, of an image.
    """

    name: str
    kind: str
    element: str = ""
    shape: tuple[int, ...] = ()
    ranges: tuple[tuple[int, int], ...] = ()
    choices: tuple[tuple[int, ...], ...] = ()
    color: str = ""


@dataclass(frozen=True)
class Program:
    """The `main` function of an ML Program for one opset.

    Attributes:
        opset: `CoreML5` (iOS15) to `CoreML9` (iOS26).
        inputs: declared type per input name.
        operations: statements in execution order.
        outputs: names of the values that the function returns.
    """

    opset: str
    inputs: Mapping[str, MilType]
    operations: tuple[Operation, ...]
    outputs: tuple[str, ...]
