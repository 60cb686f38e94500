"""A file, a directory or a module -> its findings, by what it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from slide_export.backends import registry as backends
from slide_export.backends.interface import LintsArtifacts
from slide_export.bundle import store
from slide_export.bundle.manifest import MANIFEST
from slide_export.core.errors import BundleError, CheckpointError, RequestError

from .rules import Finding, known_targets, union

if TYPE_CHECKING:
    from torch import Tensor, nn

    from slide_export.core.model import Model

BATCH = 2
ONNX_ARTIFACTS = ("model.onnx",)  # what bundles of targets that read ONNX keep beside their artifact


def lint(
    subject: Path | str | nn.Module | Model, targets: Iterable[str] = (), *, example: Tensor | None = None
) -> tuple[Finding, ...]:
    """Find what will fail, run badly or could run faster, worst first.

    Args:
        subject: a checkpoint, an `.onnx` file, an `.mlpackage`, a bundle, a loaded model, or any PyTorch module.
        targets: names of targets; none means all, of a bundle its own.
        example: an input of the module, where the subject is a bare one.

    Raises:
        RequestError: there is no such target, or a bare module came without an example.
        SlideExportError: the file is none of these, or cannot be read.
    """
    wanted = known_targets(targets)
    if isinstance(subject, str | Path):
        return union(_lint_path(Path(subject), wanted))
    from slide_export.core.model import Model

    if isinstance(subject, Model):
        return union(_lint_model(subject, wanted))
    if example is None:
        raise RequestError("expected an example input with a bare module, found none: lint(module, example=tensor)")
    from .module_rules import lint_module

    return union(lint_module(subject, example, wanted))


def _lint_path(path: Path, targets: Sequence[str]) -> tuple[Finding, ...]:
    if path.is_dir() and (path / MANIFEST).is_file():
        return _lint_bundle(path, targets)
    readers = _readers(path)
    if readers:
        return tuple(finding for name in readers if name in targets for finding in readers[name].lint_artifact(path))
    if path.is_dir() and not has_weights(path):
        raise BundleError(
            f"expected a bundle or an .mlpackage, {path} has neither {MANIFEST} nor Manifest.json, and no weights"
        )
    if path.suffix == ".onnx":
        return _lint_onnx(path, targets)
    from slide_export.checkpoint.load import load_checkpoint

    return _lint_model(load_checkpoint(path), targets)


def has_weights(folder: Path) -> bool:
    """Whether a folder may be a checkpoint's: weights, or an index of shards."""
    names = [file.name for file in folder.iterdir()]
    return any(name.endswith((".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".index.json")) for name in names)


def _lint_onnx(path: Path, targets: Sequence[str]) -> tuple[Finding, ...]:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    from .onnx_rules import lint_onnx

    try:
        proto = onnx.load(path, load_external_data=False)  # the rules need shapes, not weights
    except (OSError, DecodeError) as error:
        raise CheckpointError(f"expected an ONNX model, {path} cannot be read: {error}") from error
    return lint_onnx(proto, targets)


def _readers(path: Path) -> dict[str, LintsArtifacts]:
    """Backends by target that have rules for an artifact of this kind."""
    loaded = {name: backends.load(name) for name in backends.names()}
    return {
        name: found for name, found in loaded.items() if isinstance(found, LintsArtifacts) and found.is_artifact(path)
    }


def _lint_bundle(path: Path, targets: Sequence[str]) -> tuple[Finding, ...]:
    """Findings of a bundle's artifact, or of the ONNX graph beside it, for the target it was made for.

    Raises:
        BundleError: a file of the bundle is missing or altered, as `verify` would say; or there is nothing to lint.
    """
    manifest = store.read(path).manifest
    target, artifact = manifest.target, path / manifest.artifact.path
    if target not in targets:
        return ()
    for file in (artifact, *(path / name for name in ONNX_ARTIFACTS)):
        if file.exists() and (file.suffix == ".onnx" or _readers(file)):
            return _lint_path(file, (target,))
    raise BundleError(
        f"expected an ONNX graph or an .mlpackage in {path}, found {artifact.name}, which has been lowered already: "
        "lint the checkpoint instead"
    )


def _lint_model(model: Model, targets: Sequence[str]) -> tuple[Finding, ...]:
    """Faults of what will be exported, and those of the trained form that are gone by then, as hints."""
    import torch

    from slide_export.inference.choose import choose
    from slide_export.inference.fuse import fuse

    from .module_rules import rules
    from .module_trace import Observation, observe
    from .rules import judge

    example = torch.zeros(BATCH, 3, *model.image_size)
    trained = judge(rules(targets), observe(model.module, example), targets)
    fused = fuse(model)
    forms: dict[str, Observation] = {}
    findings: list[Finding] = []
    for target in targets:
        auto, sampling = backends.default_form(target), backends.default_sampling(target)
        lowered = choose(fused, "auto", auto=auto, sampling=sampling)
        if lowered.form not in forms:
            forms[lowered.form] = observe(lowered.module, example)
        findings += judge(rules((target,)), forms[lowered.form], (target,))
    left = {(finding.rule, finding.module, target) for finding in findings for target in finding.targets}
    return (*findings, *_handled(trained, left))


def _handled(trained: Iterable[Finding], left: set[tuple[str, str, str]]) -> list[Finding]:
    handled = []
    for finding in trained:
        gone = tuple(target for target in finding.targets if not _is_left(finding, target, left))
        if gone:
            fix = "nothing to do: fuse and lowering handle it"
            found = f"trained form: {finding.found}"
            handled.append(replace(finding, targets=gone, severity="hint", found=found, fix=fix))
    return handled


def _is_left(finding: Finding, target: str, left: set[tuple[str, str, str]]) -> bool:
    """Whether what is exported has the fault too, in the same module or in one of the same parent."""
    parent = finding.module.rpartition(".")[0]
    places = (module for rule, module, name in left if (rule, name) == (finding.rule, target))
    return any(module == finding.module or (parent and module.startswith(parent + ".")) for module in places)
