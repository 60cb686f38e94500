"""A loaded IR: its outputs, and the values inside it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.backends.profile import module_of
from slide_export.core.artifact import Feeds, Outputs
from slide_export.core.errors import RequestError
from slide_export.core.graph import Value

from .dtypes import computed_types
from .runtime import HINT, compile_ir, read_ir, reason, value_name


def values(path: Path, settings: Mapping[str, Any]) -> tuple[Value, ...]:
    """Every value of the IR that depends on an input, in the order of execution.

    Layers are called after the ONNX graph's nodes, so after modules; those that the ONNX reader added have no path.

    Raises:
        BundleError: the IR cannot be read.
    """
    live: set[str] = set()
    found = []
    for layer in read_ir(path, settings).get_ordered_ops():
        takes = tuple(name for name in map(value_name, layer.input_values()) if name in live)
        if takes or layer.get_type_name() == "Parameter":
            names = [value_name(port) for port in layer.outputs()]
            live.update(names)
            name = layer.get_friendly_name()
            scope = module_of(name)
            found += [Value(name, scope, takes) for name in names if takes and layer.get_type_name() != "Result"]
    return tuple(found)


def intermediates(path: Path, settings: Mapping[str, Any], names: Sequence[str]) -> "Session":
    """Open a session that gives these values beside the outputs.

    Raises:
        BundleError, BackendUnavailable, LoweringError: see `Session`.
    """
    return Session(path, settings, names)


class Session:
    """An IR compiled by OpenVINO: once for each batch size that the settings name, once more for all others."""

    def __init__(self, path: Path, settings: Mapping[str, Any], shown: Sequence[str] = ()) -> None:
        import openvino

        self._path, self._settings, self._shown = path, settings, shown
        self._static = tuple(settings.get("static_batches", ()))
        first = self._static[0] if self._static else None
        model, compiled = compile_ir(path, settings, first, shown)
        self._compiled = {first: compiled}
        self._inputs = {port.get_any_name(): str(port.get_element_type().to_dtype()) for port in compiled.inputs}
        devices = ", ".join(compiled.get_property("EXECUTION_DEVICES"))
        # A device may settle on another type than the hint's.
        types = (
            "/".join(sorted(computed_types(model, compiled))) or f"{settings['config'].get(HINT, 'any type')} asked for"
        )
        self.evaluator = f"OpenVINO {openvino.__version__.split('-')[0]} on {devices} ({types})"

    def run(self, feeds: Feeds) -> Outputs:
        """Compute every output by name for the inputs by name.

        Raises:
            RequestError: the feeds are not the inputs; OpenVINO runs without a missing one and casts a wrong type.
        """
        found = {name: str(value.dtype) for name, value in feeds.items()}
        if found != self._inputs:
            raise RequestError(f"expected the inputs {self._inputs}, found {found}")
        compiled = self._for(len(next(iter(feeds.values()))))
        try:
            results = compiled(dict(feeds))
        except RuntimeError as error:
            raise RequestError(f"expected inputs that the artifact takes, OpenVINO says: {reason(error)}") from error
        return {name: results[port] for port in compiled.outputs for name in self._output_names(port)}

    def _output_names(self, port: Any) -> tuple[str, ...]:
        """Names to return an output under; an intermediate is keyed by its layer."""
        return tuple(port.get_names().intersection(self._shown)) or (port.get_any_name(),)

    def _for(self, batch: int) -> Any:
        """The compiled model of a batch size, compiled when it is first asked for."""
        key = batch if batch in self._static else None
        if key not in self._compiled:
            self._compiled[key] = compile_ir(self._path, self._settings, key, self._shown)[1]
        return self._compiled[key]
