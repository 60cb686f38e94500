"""An ONNX graph -> a plan and its sidecar."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from slide_export.core.artifact import LARGEST_BATCH
from slide_export.core.errors import LoweringError, RequestError
from slide_export.core.text import foreign
from slide_export.core.whole_number import is_number

from . import sidecar, vendor

LARGEST_WORKSPACE_MIB = 1 << 20
"""A tebibyte: more than any GPU has."""

log = logging.getLogger(__name__)


def build(flavor: str, source: bytes, path: Path, precision: str, options: Mapping[str, str]) -> dict[str, Any]:
    """Write the plan and its sidecar; gives the sidecar.

    Args:
        source: the ONNX graph, serialized.
        options: every option of the backend.

    Raises:
        RequestError: an option is no number, or not one that TensorRT knows.
        BackendUnavailable: the flavor's module does not import.
        LoweringError: the parser or the builder refuses the graph.
    """
    trt, messages = vendor.load(flavor)
    messages.clear()
    builder = trt.Builder(messages)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, source, messages, flavor)
    config = builder.create_builder_config()
    gpus = _configure(trt, config, flavor, options)
    profile = _profile(builder, network, config, options)
    monitor = _monitor(trt, log.info)  # named, since it must outlive the build
    config.progress_monitor = monitor
    plan = _serialize(builder, network, config, messages, flavor, options["timing_cache"])
    path.write_bytes(plan)
    said = {
        "flavor": flavor,
        "version": trt.__version__,
        "distribution": vendor.installed(flavor),
        "precision": precision,
        "options": dict(options),
        "strongly_typed": True,
        "compute_capabilities": gpus,
        "hardware_compatibility": options["hardware"],
        "profile": profile,
        "plan": sidecar.part(path.name, plan),
        "graph": sidecar.part(sidecar.GRAPH, source),
        "layers": {"counted_in": "the typed network that was built", **_layers(network)},
        "memory": {"counted_by": "the builder", **messages.sizes},
        "warnings": _warnings(messages, flavor),
        "rebuild": sidecar.REBUILD,
        "reproducible": "the graph and this recipe; the plan's bytes differ from build to build",
    }
    sidecar.write(path, said)
    return said


def _parse(trt: Any, network: Any, source: bytes, messages: Any, flavor: str) -> None:
    parser = trt.OnnxParser(network, messages)
    if parser.parse(source):
        return
    error = parser.get_error(0)
    said = vendor.sentence(error.desc())
    if said == "false":  # what its checks of operators say (onnxOpCheckers.cpp)
        said = "it does not have this operator"
    place = f" at {error.node_operator()} {error.node_name()}".rstrip() if error.node_operator() else ""
    raise LoweringError(
        f"expected a graph for {vendor.NAMES[flavor]} {trt.__version__}, its parser stops{place}: {said}"
    )


def _configure(trt: Any, config: Any, flavor: str, options: Mapping[str, str]) -> list[str]:
    """Set the builder's flags and limits; gives the compute capabilities that were asked for, "8.6"."""
    for name, flag in (("tf32", "TF32"), ("version_compatible", "VERSION_COMPATIBLE")):
        (config.set_flag if options[name] == "on" else config.clear_flag)(getattr(trt.BuilderFlag, flag))
    if options["hardware"] != "none":
        config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, options["hardware"].upper())
    if options["workspace_mib"]:
        mib = _number("workspace_mib", options, LARGEST_WORKSPACE_MIB)
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, mib << 20)
    if not options["compute_capability"]:
        return []
    known = {
        name.removeprefix("SM"): value for name, value in trt.ComputeCapability.__members__.items() if name[:2] == "SM"
    }
    asked = [part.strip() for part in options["compute_capability"].split(",")]
    if unknown := [part for part in asked if part not in known]:
        raise RequestError(f"expected compute_capability of {', '.join(known)}; found {', '.join(unknown)}")
    config.num_compute_capabilities = len(asked)
    for index, part in enumerate(asked):
        config.set_compute_capability(known[part], index)
    return [f"{part[:-1]}.{part[-1]}" for part in asked]


def _profile(builder: Any, network: Any, config: Any, options: Mapping[str, str]) -> dict[str, dict[str, list[int]]]:
    """Add the optimization profile of the batch range; empty where the batch is fixed."""
    sizes = [_number(name, options, LARGEST_BATCH) for name in ("min_batch", "opt_batch", "max_batch")]
    if sizes != sorted(sizes):
        raise RequestError(f"expected min_batch <= opt_batch <= max_batch, found {', '.join(map(str, sizes))}")
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    ranges = {
        each.name: [[size, *tuple(each.shape)[1:]] for size in sizes] for each in inputs if -1 in tuple(each.shape)
    }
    if ranges:
        profile = builder.create_optimization_profile()
        for name, shapes in ranges.items():
            profile.set_shape(name, *shapes)
        config.add_optimization_profile(profile)
    return {name: dict(zip(("min", "opt", "max"), shapes, strict=True)) for name, shapes in ranges.items()}


def _number(name: str, options: Mapping[str, str], most: int) -> int:
    if not is_number(options[name]) or not 1 <= int(options[name]) <= most:
        found = foreign(options[name])
        raise RequestError(f"expected {name} to be a whole number from 1 to {most}, found {found!r}")
    return int(options[name])


def _open_cache(config: Any, place: str) -> Path | None:
    """Give the builder the timings of earlier builds; returns where to write them back."""
    if not place:
        return None
    path = Path(place)
    config.set_timing_cache(config.create_timing_cache(path.read_bytes() if path.exists() else b""), False)
    return path


def _monitor(trt: Any, tell: Callable[[str], None]) -> Any:
    """A progress monitor that tells each phase as it begins."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]  # trt is Any
        """Tells phases by name; a step goes on unless it says False."""

        def __init__(self) -> None:
            super().__init__()

        def phase_start(self, phase: str, _parent: str | None, steps: int) -> None:
            """Report the phase that begins."""
            tell(f"{phase} ({steps} steps)")

        def phase_finish(self, phase: str) -> None:
            """Ignore the end: the next phase says as much."""

        def step_complete(self, _phase: str, _step: int) -> bool:
            """Let the build go on: false would cancel it."""
            return True

    return Monitor()


def _serialize(builder: Any, network: Any, config: Any, messages: Any, flavor: str, timing_cache: str) -> bytes:
    """The plan; `messages` then holds what was said of it alone."""
    cache = _open_cache(config, timing_cache)
    messages.clear()
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        said = vendor.sentence(next(iter(messages.errors), "no reason given"))
        raise LoweringError(f"expected an engine, {vendor.NAMES[flavor]}'s builder says: {said}")
    if cache:
        cache.write_bytes(bytes(config.get_timing_cache().serialize()))
    return bytes(plan)


def _warnings(messages: Any, flavor: str) -> list[str]:
    """Logs what the builder warned of, and returns it."""
    warnings = [vendor.sentence(message) for message in messages.warnings]
    for warning in warnings:
        log.warning("%s: %s", vendor.NAMES[flavor], warning)
    return warnings


def _layers(network: Any) -> dict[str, Any]:
    """Number of layers, and how many give which type."""
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = Counter(layer.get_output(0).dtype.name.lower() for layer in layers if layer.num_outputs)
    return {"count": len(layers), "by_type": dict(sorted(kinds.items()))}
