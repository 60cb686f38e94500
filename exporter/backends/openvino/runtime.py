"""OpenVINO Runtime: whether it is here, how an IR is read and compiled, what its messages say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slide_export.core.errors import BackendUnavailable, BundleError, LoweringError

from . import own_operator

HINT, CACHE = "INFERENCE_PRECISION_HINT", "CACHE_DIR"
DYNAMIC = -1  # a batch, as OpenVINO writes it
VIRTUAL = frozenset({"AUTO", "BATCH", "HETERO", "MULTI"})  # devices that stand for others
WHERE = ("Exception from ", "Check '", "FrontEnd API failed ")  # how lines begin that are for OpenVINO's developers


def unavailable_reason() -> str | None:
    """Why OpenVINO has no CPU device here, None where it has one."""
    try:
        from openvino import Core

        devices = Core().available_devices
    except (ImportError, OSError, RuntimeError) as error:
        return f"OpenVINO cannot start: {reason(error)}"
    return None if "CPU" in devices else f"OpenVINO has no CPU device here, only {', '.join(devices) or 'none'}"


def read_ir(path: Path, settings: Mapping[str, Any]) -> Any:
    """Read an IR.

    Raises:
        BundleError: it cannot be read.
    """
    return _read(core_for(path, settings), path)


def core_for(path: Path, settings: Mapping[str, Any]) -> Any:
    """OpenVINO with what an IR's settings say that it needs: the library beside it.

    Raises:
        BundleError: the library is another's, or OpenVINO cannot load it.
    """
    import openvino

    core = openvino.Core()
    if settings.get("library"):
        own_operator.register(core, path)
    return core


def _read(core: Any, path: Path) -> Any:
    try:
        return core.read_model(path)
    except RuntimeError as error:
        raise BundleError(f"expected an OpenVINO IR, OpenVINO cannot read {path}: {reason(error)}") from error


def compile_ir(
    path: Path, settings: Mapping[str, Any], batch: int | None = None, shown: Sequence[str] = ()
) -> tuple[Any, Any]:
    """The IR, and the same compiled with exactly these settings.

    1. The settings have batch sizes of their own, this one among them: a static model.
    2. They have some, and this is none of them: the model of a dynamic batch, which the others share.
    3. They have none: as the file has it, with a dynamic batch or the one that the export fixed.

    Args:
        batch: images of a call; None for any that has no model of its own.
        shown: more values to have among the outputs.
    """
    core = core_for(path, settings)
    model = _read(core, path)
    _show(model, shown)
    device = settings["device"]
    _refuse_absent(device, core.available_devices)
    threads = {"INFERENCE_NUM_THREADS": settings["threads"]} if "threads" in settings else {}
    try:
        if static := settings.get("static_batches", ()):
            number = batch if batch in static else DYNAMIC
            model.reshape({port: [number, *port.get_partial_shape()[1:]] for port in model.inputs})
        # Never by path: the cache would then be keyed without the .bin and answer with weights that it no longer has; a
        # model that was read is keyed by its weights too (seen with 2026.4.1, and tested).
        return model, core.compile_model(model, device, {**settings["config"], **threads})
    except RuntimeError as error:
        raise LoweringError(f"expected {path} to compile for {device}, OpenVINO says: {reason(error)}") from error


def _refuse_absent(device: str, available: list[str]) -> None:
    """Refuse a device that is not here, or a virtual one over any that is not: "AUTO:GPU,CPU" needs both."""
    kind, _, members = device.partition(":")
    wanted = [name.strip(" -").split("(")[0] for name in members.split(",") if name] if kind in VIRTUAL else [kind]
    here = {name.split(".")[0] for name in available}  # GPU.0 and GPU.1 are GPUs
    absent = [name for name in wanted if name.split(".")[0] not in here]
    if absent:
        raise BackendUnavailable(
            f"expected a device that OpenVINO finds on this machine ({', '.join(available) or 'none'}), "
            f"found {', '.join(map(repr, absent))}: choose one of them or install the other's driver"
        )


def _show(model: Any, names: Sequence[str]) -> None:
    """Make outputs of values, called as `session.values` calls them."""
    ports = {value_name(port): port for layer in model.get_ordered_ops() for port in layer.outputs()}
    for name, port in zip(names, model.add_outputs([ports[name] for name in names]), strict=True):
        port.get_tensor().add_names({name})


def value_name(port: Any) -> str:
    """Name of the value at a port: its layer's, and which of the layer's outputs it is."""
    return f"{port.get_node().get_friendly_name()}:{port.get_index()}"


def reason(error: BaseException) -> str:
    """OpenVINO's message in one line, without the lines that say where in its source it was."""
    lines = [line.strip() for line in str(error).splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(WHERE))
