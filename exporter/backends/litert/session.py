"""A `.tflite` file under LiteRT's interpreter, and the values inside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from slide_export.backends.native_text import native_text
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import BundleError, RequestError
from slide_export.core.graph import Value
from slide_export.core.module_outputs import modules_by_value
from slide_export.core.text import foreign

from . import flatbuffer

CONVOLUTIONS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D"})
INTEGERS = frozenset({"int32", "int64"})


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Every value of the graph that depends on an input, in the order of execution.

    Raises:
        BundleError: the file cannot be read.
    """
    graph = flatbuffer.read(path)
    moved = merged(flatbuffer.scopes_of(tensor.name) for tensor in graph.tensors if tensor.data is not None)
    live = set(graph.inputs)
    found = []
    for operation in graph.operations:
        takes = tuple(index for index in operation.inputs if index in live)
        if takes:
            live.update(operation.outputs)
            names = tuple(graph.tensors[index].name for index in takes)
            scope = _scope(graph, operation)
            told = None if scope in moved else scope
            found += [Value(graph.tensors[index].name, told, names) for index in operation.outputs]
    modules = modules_by_value(found, without=hidden(_joined(graph)) | _activated(graph))
    return tuple(replace(one, output_of=modules.get(one.name, ())) for one in found)


def _activated(graph: flatbuffer.Graph) -> frozenset[str]:
    """Layers whose result is no value, for the operator applies the ReLU behind them as well."""
    weights = (one.inputs[flatbuffer.PRODUCTS[one.name]] for one in graph.operations if one.activated)
    layers = (graph.expanded_from(taken) or graph.tensors[taken] for taken in weights)
    return frozenset(scope for layer in layers for scope in flatbuffer.scopes_of(layer.name))


def _joined(graph: flatbuffer.Graph) -> Iterator[Sequence[str]]:
    """The modules of each constant; of weights that are called after the module around a layer, of their result too.

    Given    FULLY_CONNECTED with weights block/16 -> block.mlp.fc2;;block/252     a scale of the block's is in them
    """
    yield from (flatbuffer.scopes_of(one.name) for one in graph.tensors if one.data is not None)
    for operation, _, weights in graph.products():
        result = flatbuffer.scopes_of(graph.tensors[operation.outputs[0]].name)
        if weights.data is not None and flatbuffer.scopes_of(weights.name) == (min(result, key=len),):
            yield result


def hidden(constants: Iterable[Sequence[str]]) -> frozenset[str]:
    """Modules whose results are nowhere in a file, for a constant of theirs is one with that of another.

    1. One of them is around all the others: its own arithmetic came behind theirs, and what they give, and what modules
       in between give, is no value any more.
    2. They stand side by side: the first was taken in by the other.

        Given    block;;block.attn.proj (a scale behind the projection)      norm;;fc1
        Result   block.attn.proj, block.attn                                 norm

    Args:
        constants: the modules that each constant is of.
    """
    found: set[str] = set()
    for scopes in constants:
        outer = min(scopes, key=len)
        inner = [one for one in scopes if one != outer]
        if not inner:
            continue
        if _around(outer, inner):  # Case 1
            paths = (path for one in inner for path in accumulate(one.split("."), "{}.{}".format))
            found.update(path for path in paths if len(path) > len(outer))
        else:  # Case 2
            found.add(scopes[0])
    return frozenset(found)


def _around(outer: str, inner: Iterable[str]) -> bool:
    """Whether a module is around all of the others."""
    return all(not outer or one.startswith(f"{outer}.") for one in inner)


def _scope(graph: flatbuffer.Graph, operation: flatbuffer.Operation) -> str | None:
    """The module that computes an operation's result: of a layer, that of its weights where that is nearer.

    Given    FULLY_CONNECTED -> blocks.0/822, with a reshape behind it folded in; weights blocks.0.attn.proj/45
    Result   blocks.0.attn.proj
    """
    named = next((graph.tensors[index].scope for index in operation.outputs), None)
    if operation.name in flatbuffer.PRODUCTS:
        taken = operation.inputs[flatbuffer.PRODUCTS[operation.name]]
        weights = graph.expanded_from(taken) or graph.tensors[taken]
        scopes = flatbuffer.scopes_of(weights.name)
        if weights.data is not None and len(scopes) == 1 and named and scopes[0].startswith(f"{named}."):
            return scopes[0]
    return named or None


def merged(constants: Iterable[Sequence[str]]) -> frozenset[str]:
    """Modules whose arithmetic the converter moved into the weights of one beside them: what is left is no result.

    One around the layer is none: what it adds behind the layer is its own, and its result.

        Given    norm;;fc1      block;;block.attn.proj (a scale behind the projection)
        Result   norm

    Args:
        constants: the modules that each constant is of.
    """
    several = ((min(scopes, key=len), scopes) for scopes in constants if len(set(scopes)) > 1)
    return frozenset(scopes[0] for outer, scopes in several if not _around(outer, set(scopes) - {outer}))


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> Session:
    """Open a session that gives these values beside the outputs.

    1. All are integers, as orders are: by the kernels that `settings` say. Keys that rounding cannot tell apart sort
       either way, so an order is that of the outputs only if the same kernels made both.
    2. Others: by LiteRT's own kernels. XNNPACK takes whole stretches of the graph over, and what it computes when a
       tensor inside one of them is an output is not what it computes otherwise.

    Raises:
        BundleError: see `Session`.
    """
    types = {tensor.name: tensor.type for tensor in flatbuffer.read(path).tensors}
    if all(types[name] in INTEGERS for name in names):  # Case 1
        return Session(path, settings, names)
    return Session(path, {**settings, "delegate": "none"}, names)


class Session:
    """A `.tflite` file under LiteRT's interpreter: XNNPACK's kernels, or LiteRT's own.

    Args:
        shown: names of values to give beside the outputs.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], shown: Sequence[str] = ()) -> None:
        import ai_edge_litert
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        kernels = OpResolverType.AUTO
        if settings.get("delegate", "xnnpack") == "none":
            kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            content = path.read_bytes()
            with native_text():  # it announces its delegate; what is wrong with a file, it raises as well
                self._interpreter = Interpreter(
                    model_content=flatbuffer.giving(content, shown) if shown else content,
                    num_threads=settings.get("threads"),
                    experimental_op_resolver_type=kernels,
                )
                self._interpreter.allocate_tensors()
        except OSError as error:
            raise BundleError(f"expected a .tflite file at {path}, the system says: {error.strerror}") from error
        except (
            ValueError,
            RuntimeError,
        ) as error:  # what it says of bytes that are no model, or of an unknown operator
            raise BundleError(
                f"expected a .tflite file that LiteRT can load, {path.name} is none: {foreign(error, 300)}"
            ) from error
        self._inputs = {one["name"]: one for one in self._interpreter.get_input_details()}
        self._outputs = {one["name"]: one["index"] for one in self._interpreter.get_output_details()}
        self._maps = _maps(path) & frozenset(shown) if shown else frozenset()
        told = "XNNPACK" if kernels == OpResolverType.AUTO else "its own kernels"
        self.evaluator = f"LiteRT {ai_edge_litert.__version__} on CPU ({told})"

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name, at the batch size of the file.

        Raises:
            RequestError: the feeds are not the inputs.
        """
        self._refuse_unfit(feeds)
        for name, value in feeds.items():
            self._interpreter.set_tensor(self._inputs[name]["index"], np.ascontiguousarray(value))
        with _refusing():
            self._interpreter.invoke()
        found = {name: self._interpreter.get_tensor(index) for name, index in self._outputs.items()}  # copies
        return {name: value.transpose(0, 3, 1, 2) if name in self._maps else value for name, value in found.items()}

    def _refuse_unfit(self, feeds: Feeds) -> None:
        expected = {name: (np.dtype(one["dtype"]), tuple(map(int, one["shape"]))) for name, one in self._inputs.items()}
        found = {name: (value.dtype, value.shape) for name, value in feeds.items()}
        if expected != found:
            raise RequestError(f"expected the inputs {_told(expected)}, found {_told(found)}")


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise BundleError(f"expected a .tflite file that LiteRT can run, it says: {foreign(error, 300)}") from error


def _maps(path: Path) -> frozenset[str]:
    """Names of convolutions' results, [B, H, W, C] in LiteRT and shown as the model has them, [B, C, H, W]."""
    graph = flatbuffer.read(path)
    made = (one.outputs[0] for one in graph.operations if one.name in CONVOLUTIONS)
    return frozenset(graph.tensors[index].name for index in made)


def _told(tensors: Mapping[str, tuple[Any, tuple[int, ...]]]) -> str:
    return ", ".join(f"{name} {kind}{list(shape)}" for name, (kind, shape) in tensors.items()) or "none"
