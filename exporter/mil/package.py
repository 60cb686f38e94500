"""A saved `.mlpackage` directory, read back from disk.

`Manifest.json` names the model specification (a protobuf file); the weights stand beside it in `weights/weight.bin`.
Only the protobuf message classes of coremltools are used; its converter and its own weight reader are not.

Source: apple/coremltools `modelpackage/src/ModelPackage.cpp` (manifest keys) and `mlmodel/format/Model.proto`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import decode, vendor
from .blob import BlobFile
from .errors import MilError
from .program import Feature, Literal, Operation, Program, Value

MODULES = "modules"  # key of the user-defined metadata: the operations of each PyTorch module


@dataclass(frozen=True)
class Package:
    """One ML Program package.

    Attributes:
        path: the package directory.
        inputs: input features, in the interface's order.
        outputs: output features, in the interface's order.
        program: the function that a prediction runs.
        weights: weight files by their path below the model directory.
        texts: the user-defined metadata.
    """

    path: Path
    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    program: Program
    weights: Mapping[str, BlobFile] = field(repr=False)
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, path: Path | str) -> Package:
        """The package at `path`.

        Raises:
            MilError: a file is missing or malformed, or the model is not an ML Program.
        """
        path = Path(path)
        specification = _specification_path(path)
        spec = _specification(specification)
        if spec.WhichOneof("Type") != "mlProgram":
            raise MilError(f"{path}: an ML Program was expected, found {spec.WhichOneof('Type')}")
        description = spec.description
        function = description.defaultFunctionName or "main"
        # Before iOS18 the model has one function and no list.
        interface = next((item for item in description.functions if item.name == function), description)
        program = decode.program(spec.mlProgram, function)
        return cls(
            path=path,
            inputs=tuple(decode.feature(item) for item in (*interface.input, *interface.state)),
            outputs=tuple(decode.feature(item) for item in interface.output),
            program=program,
            weights=_weight_files(program, specification.parent),
            texts=dict(description.metadata.userDefined),
        )

    def operations(self) -> tuple[Operation, ...]:
        """Every statement of the program in execution order, constants included."""
        return self.program.operations

    def modules(self) -> dict[str, str]:
        """The PyTorch module of each operation by its name, as `convert.save` wrote them; nothing in others' packages.

        Raises:
            MilError: the metadata is not what we write.
        """
        try:
            grouped = json.loads(self.texts.get(MODULES, "{}"))
            return {operation: module for module, operations in grouped.items() for operation in operations}
        except (ValueError, AttributeError, TypeError) as error:
            raise MilError(
                f"{self.path}: the operations of each module were expected in {MODULES!r} ({error})"
            ) from error

    def value(self, literal: Literal) -> Value:
        """What a literal stands for; decoded from the weight file where it lives there.

        Raises:
            MilError: the weight file's entry does not match the declared type and shape.
        """
        if literal.value is not None:  # written in the program itself
            return literal.value
        shape = tuple(size or 0 for size in literal.type.shape)
        return self.weights[literal.file].tensor(literal.offset, literal.type.element, shape)


def _specification_path(package: Path) -> Path:
    manifest = package / "Manifest.json"
    if not manifest.is_file():
        raise MilError(f"a Manifest.json was expected in {package}: is it an .mlpackage directory?")
    try:
        content = json.loads(manifest.read_text(encoding="utf-8"))
        entry = content["itemInfoEntries"][content["rootModelIdentifier"]]["path"]
    except (ValueError, KeyError, TypeError) as error:
        raise MilError(f"{manifest}: the entry of the root model was expected, found none ({error!r})") from error
    specification: Path = package / "Data" / entry
    if not specification.is_file():
        raise MilError(f"{manifest} names {entry}, but {specification} is no file")
    return specification


def _specification(path: Path) -> decode.Message:
    vendor.prepare()
    from coremltools.proto import Model_pb2
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    spec = Model_pb2.Model()
    try:
        spec.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise MilError(f"{path}: a model specification was expected, the file cannot be parsed ({error})") from error
    return spec


def _weight_files(program: Program, model_directory: Path) -> dict[str, BlobFile]:
    bindings = (b for op in program.operations for _, group in op.bindings() for b in group)
    names = sorted({b.file for b in bindings if isinstance(b, Literal) and b.file})  # each file is mapped once
    return {name: BlobFile.read(model_directory / name) for name in names}
