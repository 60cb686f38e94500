"""Prepared in a directory, for another process: JSON, safetensors and ONNX; no pickle.

    prepared.json          schema, model, request, certificate, reference's names, sha256 of every other file
    trained.safetensors    parameters and buffers of the train-time module
    truth.safetensors      feeds and float64 outputs of the proof's images, and the noise floors that need no recipe
    FORM.onnx              the graph of each form that had been exported

The module is built again from its family's configuration and loaded strictly; what is fused follows from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import safetensors.numpy
import safetensors.torch
from safetensors import SafetensorError

from slide_export.calibration.evaluation_set import EvaluationSet
from slide_export.calibration.image_cache import PictureStore
from slide_export.calibration.images import ImageSet
from slide_export.calibration.quantization import NumericFormat
from slide_export.core.artifact import ModelIO
from slide_export.core.errors import BundleError
from slide_export.core.files import sha256_of
from slide_export.core.graph import OnnxGraph
from slide_export.core.model import BlockCertificate, Model, Provenance, ValueInForce
from slide_export.core.precision import precision_named
from slide_export.core.proof import Reference
from slide_export.core.request import AccuracyGoal, CheckpointRequest
from slide_export.graph.export import specs
from slide_export.inference.choose import choose
from slide_export.inference.fuse import fuse
from slide_export.inference.served import serve
from slide_export.models import LOADABLE, DataConfig, Family

from .prepare import ModelInForm, Prepared
from .resolve import SourceRequest

SCHEMA = "slide-export/prepared/2"
INDEX, TRAINED, TRUTH = "prepared.json", "trained.safetensors", "truth.safetensors"
FEED, EXACT, MARGIN, FLOOR = "input.", "reference.", "margin.", "floor."


def write(prepared: Prepared, directory: Path) -> None:
    """Write a prepared checkpoint into an empty directory."""
    module, truth = prepared.served.module, prepared.truth
    state = {name: value.contiguous() for name, value in module.state_dict().items()}
    (directory / TRAINED).write_bytes(safetensors.torch.save(state))
    tensors = {FEED + name: value for name, value in truth.feeds.items()}
    tensors |= {EXACT + name: value for name, value in truth.exact.items()}
    tensors |= {MARGIN + name: value for name, value in truth.margins.items()}
    for number, reference in enumerate(_float_floors(prepared).values()):
        tensors |= {f"{FLOOR}{number}.{name}": value for name, value in reference.rounded.items()}
    (directory / TRUTH).write_bytes(safetensors.numpy.save({n: np.ascontiguousarray(v) for n, v in tensors.items()}))
    for form, prepared_form in prepared.forms.items():
        if prepared_form.exported:
            (directory / f"{form}.onnx").write_bytes(prepared_form.graph.proto.SerializeToString(deterministic=True))
    files = {path.name: sha256_of(path) for path in sorted(directory.iterdir())}
    (directory / INDEX).write_text(
        json.dumps({"schema": SCHEMA, "files": files, **_index(prepared)}, default=str, allow_nan=False)
    )


def _float_floors(prepared: Prepared) -> dict[NumericFormat, Reference]:
    """Floors that JSON can name: those of the float precisions, which every target shares."""
    return {numbers: floor for numbers, floor in prepared.floors.items() if numbers.recipe is None}


def _index(prepared: Prepared) -> dict[str, Any]:
    model, request, evaluation = prepared.served.trained, prepared.request, prepared.evaluation
    return {
        "model": {
            "family": model.family,
            "variant": model.variant,
            "task": model.task,
            "labels": model.labels,
            "config": asdict(model.config),  # type: ignore[call-overload]  # every family's is a dataclass
            "data": asdict(model.data),
            "provenance": asdict(model.provenance),
        },
        "request": {
            "checkpoint": asdict(replace(request.checkpoint, families=(), tasks=())),
            "io": asdict(request.io),
            "images": asdict(prepared.images),
            "image_count": request.image_count,
            "keep_fp32": request.keep_fp32,
            "form": request.form,
            "accuracy": None if request.accuracy is None else asdict(request.accuracy),
        },
        "proof_images": asdict(prepared.proof_images),
        "samples": list(prepared.store.told.values()),
        "truth": {"source": prepared.truth.source, "images": prepared.truth.images},
        "floors": [{"precision": one.precision.name, "keep": one.keep} for one in _float_floors(prepared)],
        "certificate": [asdict(block) for block in prepared.certificate],
        "evaluation": None
        if evaluation is None
        else {
            "images": asdict(evaluation.images),
            "classes": None if evaluation.classes is None else evaluation.classes.tolist(),
            "names": evaluation.names,
            "truths": [(file, truth) for file, truth in evaluation.truths.items()],
        },
    }


def read(directory: Path, families: tuple[Family, ...] = LOADABLE) -> Prepared:
    """A prepared checkpoint from its directory.

    Args:
        families: which it may be of.

    Raises:
        BundleError: a file is missing, altered or of another version.
    """
    try:
        index = json.loads((directory / INDEX).read_text())
        if index["schema"] != SCHEMA:
            raise BundleError(f"expected {SCHEMA} in {directory / INDEX}, found {index['schema']!r}")
        for name, digest in index["files"].items():
            if sha256_of(directory / name) != digest:
                raise BundleError(f"expected {name} as it was written, its sha256 differs in {directory}")
        return _prepared(directory, index, families)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise BundleError(f"expected a prepared checkpoint in {directory}, it cannot be read: {error}") from error


def _prepared(directory: Path, index: Mapping[str, Any], families: tuple[Family, ...]) -> Prepared:
    request = _request(index["request"])
    model = _model(directory, index["model"], families)
    served = serve(model, request.io)
    tensors = safetensors.numpy.load_file(directory / TRUTH)
    truth = Reference(
        index["truth"]["source"],
        tuple(index["truth"]["images"]),
        _part(tensors, FEED),
        _part(tensors, EXACT),
        {},
        _part(tensors, MARGIN),
        served.rule,
    )
    prepared = Prepared(
        request=request,
        served=served,
        fused=fuse(model),
        certificate=tuple(BlockCertificate(**block) for block in index["certificate"]),
        truth=truth,
        images=_image_set(index["request"]["images"]),
        proof_images=_image_set(index["proof_images"]),
        evaluation=_evaluation(index["evaluation"]),
        store=PictureStore(model.data, model.image_size, served.task.sample),
    )
    prepared.store.take({Path(files[0]): tuple(map(Path, files)) for files in index["samples"]})
    for number, plain in enumerate(index["floors"]):
        numbers = NumericFormat(precision_named(plain["precision"]), keep=tuple(plain["keep"]))
        prepared.floors[numbers] = replace(truth, rounded=_part(tensors, f"{FLOOR}{number}."))
    for name in index["files"]:
        if name.endswith(".onnx"):
            form = name.removesuffix(".onnx")
            proto = onnx.load(directory / name)
            graph = OnnxGraph(proto, specs(proto.graph.input), specs(proto.graph.output))
            inference = choose(prepared.fused, form)
            prepared.forms[form] = ModelInForm(served.running(inference), graph)
    return prepared


def _request(plain: Mapping[str, Any]) -> SourceRequest:
    asked = plain["checkpoint"]
    checkpoint = CheckpointRequest(**{**_tuples(asked), "path": Path(asked["path"])})
    goal = plain["accuracy"]
    return SourceRequest(
        checkpoint,
        ModelIO(**_tuples(plain["io"])),
        _image_set(plain["images"]),
        plain["image_count"],
        tuple(plain["keep_fp32"]),
        plain["form"],
        None if goal is None else AccuracyGoal(**{**goal, "images": Path(goal["images"])}),
    )


def _model(directory: Path, plain: Mapping[str, Any], families: tuple[Family, ...]) -> Model:
    family = next((family for family in families if family.name == plain["family"]), None)
    if family is None:
        raise BundleError(f"expected a known family in {directory}, found {plain['family']!r}")
    config_type: Any = type(next(iter(family.variants.values())))
    config = config_type(**_tuples(plain["config"]))
    module = family.build(config)
    module.load_state_dict(safetensors.torch.load_file(directory / TRAINED))
    module.eval().requires_grad_(False)
    source = plain["provenance"]
    values, images = (tuple(ValueInForce(**one) for one in source[name]) for name in ("values", "preprocessing"))
    provenance = replace(Provenance(**_tuples(source)), path=Path(source["path"]), values=values, preprocessing=images)
    return Model(
        module,
        family.name,
        plain["variant"],
        config,
        DataConfig(**_tuples(plain["data"])),
        provenance,
        plain["task"],
        tuple(plain["labels"]),
        family.float32,
    )


def _tuples(plain: Mapping[str, Any]) -> dict[str, Any]:
    def deep(value: Any) -> Any:
        """Tuples for lists at every depth."""
        return tuple(map(deep, value)) if isinstance(value, list) else value

    return {name: deep(value) for name, value in plain.items()}


def _image_set(plain: Mapping[str, Any]) -> ImageSet:
    return ImageSet(plain["source"], Path(plain["root"]), tuple(map(Path, plain["files"])))


def _evaluation(plain: Mapping[str, Any] | None) -> EvaluationSet | None:
    if plain is None:
        return None
    classes = plain["classes"]
    return EvaluationSet(
        _image_set(plain["images"]),
        None if classes is None else np.array(classes, np.int64),
        tuple(plain["names"]),
        {Path(file): Path(truth) for file, truth in plain["truths"]},
    )


def _part(tensors: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
