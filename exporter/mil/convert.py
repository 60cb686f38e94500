"""A PyTorch module -> a saved `.mlpackage`, the same bytes for the same module, with the module that each operation is.

`torch.jit.trace` is the front end although PyTorch calls it deprecated: coremltools 9.0's other one, torch.export,
silently computes `gelu(approximate="tanh")` exactly (apple/coremltools pull request 2863) and ignores the `alpha` of
`add` and `sub` (issue 2573). Types of inputs and outputs are always stated: what coremltools takes otherwise depends on
the front end, the precision and the deployment target.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import traceback
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.jit._trace import TracerWarning

from slide_export.calibration.recipe import QuantizationRecipe

from . import vendor
from .compress import compress
from .errors import MilError
from .package import MODULES
from .passes import pipeline

CLASS_LABEL = "classLabel"
CONTAINERS = (nn.ModuleList, nn.ModuleDict)  # never called themselves
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/apple/coremltools/mlpackage")
HARMLESS: tuple[tuple[type[Warning], str], ...] = (
    (DeprecationWarning, r"`torch\.jit\.trace"),
    (DeprecationWarning, r"Conversion of an array with ndim > 0 to a scalar"),  # frontend/torch/ops.py, `_int`
    (ResourceWarning, r"Implicitly cleaning up <TemporaryDirectory"),  # converter.py, `weights_dir`
    # elementwise_unary.py, `get_cast_value`: float32's largest, the bound of a clip that has none, becomes infinity; a
    # weight beyond float16 is found by the noise floor and by what is stored.
    (RuntimeWarning, r"overflow encountered in cast"),
)


@dataclass(frozen=True)
class Form:
    """What a package is to look like from outside, and how it is to compute.

    Attributes:
        inputs: names, in the order that the module takes them; all have the same shape.
        shape: of an input without its batch axis; (3, H, W) where it is an image.
        batches: permitted batch sizes, the first is the default one; a single one makes every shape fixed.
        image: the input is a picture of 0..255 in RGB.
        outputs: names, in the module's order; float32 but for `whole`.
        labels: class names: the package is a classifier of its only output, a probability per name.
        precision: `fp32` or `fp16`, of activations; of weights too where nothing compresses them.
        deployment: oldest system that has to run it, `iOS16` for instance.
        kept: modules of the model that compute in float32 whatever the precision is.
        whole: outputs that are whole numbers, int32: no package has a smaller type for them.
    """

    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    batches: tuple[int, ...]
    image: bool
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    precision: str
    deployment: str
    kept: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()

    def kind(self, output: str) -> type[np.generic]:
        """Type of an output."""
        return np.int32 if output in self.whole else np.float32


def save(
    module: nn.Module, path: Path, form: Form, metadata: Mapping[str, str], recipe: QuantizationRecipe | None = None
) -> dict[str, str]:
    """Write the package at `path` and give the name of the PyTorch module of each operation, by operation name.

    Args:
        module: takes one tensor an input, returns a tuple of them.
        metadata: texts for a reader of the package; the names of the modules are added.
        recipe: how weights are compressed; None leaves them.

    Raises:
        MilError: coremltools cannot convert the module.
    """
    with no_progress():
        vendor.prepare()
        try:
            model = _convert(module, path, form)
            names = module_names(model._mil_program, module)  # its only way from an operation to a module
            if recipe is not None:
                model = compress(model, names, recipe)
                model.save(str(path))
        except MilError:
            raise
        except Exception as error:  # coremltools has no class of its own; what its operators raise is of every kind
            traceback.clear_frames(error.__traceback__)  # they hold a temporary directory, which warns when it goes
            raise MilError(f"coremltools cannot convert the model: {_reason(error)}") from error
    _write_canonically(path, model.get_spec(), form, {**metadata, MODULES: _grouped(names)})
    return names


def _convert(module: nn.Module, path: Path, form: Form) -> Any:
    """The coremltools model of a module, saved at `path`."""
    import coremltools as ct

    batch = form.batches[0] if len(form.batches) == 1 else 2  # tracing one image would bake a batch of 1 in
    with torch.no_grad():
        examples = tuple(torch.zeros(batch, *form.shape) for _ in form.inputs)
        traced = torch.jit.trace(module, examples, check_trace=False)
    return ct.convert(
        traced,
        pass_pipeline=pipeline(),
        convert_to="mlprogram",
        inputs=[_input(form, name) for name in form.inputs],
        outputs=[ct.TensorType(name=name, dtype=form.kind(name)) for name in form.outputs],
        classifier_config=ct.ClassifierConfig(list(form.labels), CLASS_LABEL) if form.labels else None,
        minimum_deployment_target=getattr(ct.target, form.deployment),
        compute_precision=_compute_precision(form, module),
        skip_model_load=True,
        package_dir=str(path),
    )


def _compute_precision(form: Form, root: nn.Module) -> Any:
    import coremltools as ct
    from coremltools.converters.mil.mil.scope import ScopeSource

    if form.precision != "fp16" or not form.kept:
        return ct.precision.FLOAT16 if form.precision == "fp16" else ct.precision.FLOAT32
    (model,) = (name for name, _ in root.named_children())
    kept = [_called(f"{model}.{name}", root) for name in form.kept]

    def in_half(operation: Any) -> bool:
        """Whether an operation is in none of the kept modules."""
        scope = tuple(operation.scopes.get(ScopeSource.TORCHSCRIPT_MODULE_NAME, ()))
        return not any(scope[: len(path)] == path for path in kept)

    return ct.transform.FP16ComputePrecision(op_selector=in_half)


def _input(form: Form, name: str) -> Any:
    import coremltools as ct

    shapes = [(batch, *form.shape) for batch in form.batches]
    if form.image:
        return ct.ImageType(name=name, shape=shapes[0], color_layout=ct.colorlayout.RGB)
    shape = ct.EnumeratedShapes(shapes, default=shapes[0]) if len(shapes) > 1 else ct.Shape(shapes[0])
    return ct.TensorType(name=name, shape=shape, dtype=np.float32)


@contextlib.contextmanager
def no_progress() -> Iterator[None]:
    """Keep coremltools' progress bars, its advice on versions and its own faults' warnings off the terminal."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # an error is raised as well
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            for category, message in HARMLESS:
                warnings.filterwarnings("ignore", message, category)
            warnings.filterwarnings("ignore", category=TracerWarning)  # only the batch varies
            yield
    finally:
        logger.setLevel(level)


def _reason(error: Exception) -> str:
    """An error in one line, its class too where its text says little."""
    text = " ".join(str(error).split())
    return text if isinstance(error, ValueError | NotImplementedError) else f"{type(error).__name__}: {text}"


def module_names(program: Any, root: nn.Module) -> dict[str, str]:
    """Name of the PyTorch module of each operation, by operation name.

    coremltools knows the modules that were called, `0.0.attn` for `layers.0.blocks.0.attn`: containers are not. Where
    that path fits several modules, as with two lists of layers side by side, the nearest module around them is named.

    Args:
        program: coremltools' own, after its passes, with the scopes of TorchScript.
        root: what was traced; the model is its only child, whose name is left out.
    """
    from coremltools.converters.mil.mil.scope import ScopeSource

    called: dict[tuple[str, ...], list[str]] = {}
    for name, module in root.named_modules():
        if not isinstance(module, CONTAINERS):
            called.setdefault(_called(name, root), []).append(name)
    found = {}
    for operation in program.functions["main"].operations:
        scope = tuple(operation.scopes.get(ScopeSource.TORCHSCRIPT_MODULE_NAME, ())[:-1])  # the last is the value
        while len(called.get(scope, ())) != 1:
            scope = scope[:-1]
        found[operation.name] = called[scope][0].partition(".")[2]
    return found


def _called(name: str, root: nn.Module) -> tuple[str, ...]:
    """Parts of a module's name that have a forward pass of their own."""
    parts = name.split(".") if name else []
    prefixes = (".".join(parts[: end + 1]) for end in range(len(parts)))
    called = (not isinstance(root.get_submodule(prefix), CONTAINERS) for prefix in prefixes)
    return tuple(part for part, keep in zip(parts, called, strict=True) if keep)


def _grouped(names: Mapping[str, str]) -> str:
    """Operations of each module as JSON; constants are told apart by their users."""
    grouped: dict[str, list[str]] = {}
    for operation, module in names.items():
        grouped.setdefault(module, []).append(operation)
    return json.dumps(grouped, separators=(",", ":"), allow_nan=False)


def _write_canonically(path: Path, spec: Any, form: Form, metadata: Mapping[str, str]) -> None:
    """Rewrite what differs from run to run: the date, the order of protobuf maps, and the manifest's random UUIDs."""
    import coremltools as ct

    if form.labels:  # the dictionary takes the output's name; coremltools has one of its own for it
        ct.utils.rename_feature(spec, f"{CLASS_LABEL}_probs", form.outputs[0], rename_inputs=False)
    texts = spec.description.metadata.userDefined
    del texts["com.github.apple.coremltools.conversion_date"]
    texts.update(metadata)
    spec.description.metadata.author = "slide-export"
    spec.description.metadata.shortDescription = metadata.get("description", "")
    manifest = path / "Manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    items = content["itemInfoEntries"]
    root = items[content["rootModelIdentifier"]]["path"]
    (path / "Data" / root).write_bytes(spec.SerializeToString(deterministic=True))
    content["itemInfoEntries"] = {_identifier(item["path"]): item for item in items.values()}
    content["rootModelIdentifier"] = _identifier(root)
    manifest.write_text(json.dumps(content, indent=4, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")


def _identifier(path: str) -> str:
    return str(uuid.uuid5(NAMESPACE, path))
