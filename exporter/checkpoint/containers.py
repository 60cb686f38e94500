"""What a file or a folder is, apart from what is in it: every container that training codes, trainers and hubs write.

    read_checkpoint(Path("swin-tiny/"))  ->  Contents(tensors, container="folder of shards (4)", config={...}, ...)

Nothing in a file is run: see `tensor_files` and `stand_ins`.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slide_export.core.errors import CheckpointError
from slide_export.core.files import sha256_of

from .folders import WeightFiles, find_weights
from .openmmlab_text import read_config_text
from .tensor_files import StoredTensor, is_safetensors, read_safetensors, read_torch
from .text import listed
from .unread import unread
from .wrappers import Unwrapped, unwrap

URL = re.compile(r"(https?|s3|gs|hf|ftp)://?.+|(hf-hub|hf_hub|timm|local-dir):.+")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
WRITERS = ("mmpretrain", "mmcls", "mmseg", "mmdet")


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        tensors: the weights by name, without prefixes; those of safetensors are read when they are asked for.
        files: what they were read from.
        container: what the file or folder is, for people.
        wrapper: the key that the weights stood under.
        prefix: what was removed from every name.
        dropped: what is no part of the model.
        tree: the configuration that the training code put into the file, under `config`.
        config: the library's own: config.json beside the weights, or OpenMMLab's text.
        preprocessor: preprocessor_config.json.
        labels: class names that a training framework wrote.
        writer: the library that the file names as its own, "" where it names none.
        notes: what was decided, one sentence each.
    """

    tensors: Mapping[str, StoredTensor]
    files: tuple[Path, ...]
    container: str
    wrapper: str
    prefix: str
    dropped: tuple[str, ...]
    tree: Mapping[str, Any] | None
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]
    labels: tuple[str, ...]
    writer: str
    notes: tuple[str, ...]


def read_checkpoint(path: Path, *, weights: str = "raw", weights_key: str | None = None) -> Contents:
    """Read the weights that a path names, and what stands beside them.

    Args:
        path: a file of any ending, an index of shards, or a folder.
        weights: "raw" or "ema".
        weights_key: where in the file they are; None finds them.

    Raises:
        CheckpointError: there are none that can be read without running code.
        RequestError: the kind of weights does not exist.
    """
    refuse_absent(path)
    found = find_weights(path)
    content, kind = _content(found)
    unwrapped = unwrap(content, weights, weights_key, str(path))
    config, labels, writer = _openmmlab(content.get("meta"))
    return Contents(
        unwrapped.tensors,
        found.files,
        _container(found, kind, content),
        unwrapped.wrapper,
        unwrapped.prefix,
        unwrapped.dropped,
        _tree(content, path),
        found.config or config,
        found.preprocessor,
        labels,
        writer,
        (*_notes(found, unwrapped), *_unread(content)),
    )


def _tree(content: Mapping[Any, Any], path: Path) -> Mapping[str, Any] | None:
    """Find the training code's own configuration: a tree under `config`, or its YAML under `cfg`.

    Source of the latter: facebookresearch/mvit dfbdfdf, mvit/utils/checkpoint.py, save_checkpoint.

    Raises:
        CheckpointError: the text is no YAML.
    """
    tree = content.get("config", content.get("cfg"))
    if isinstance(tree, str):
        try:
            tree = yaml.safe_load(tree)
        except yaml.YAMLError as error:
            raise CheckpointError(f"expected a configuration in YAML under 'cfg' in {path}, found {error}") from error
    return tree if isinstance(tree, Mapping) else None


def refuse_absent(path: Path) -> None:
    """Refuse a path that is not there, and say how to get what is elsewhere.

    Raises:
        CheckpointError: nothing is there.
    """
    if path.is_file() or path.is_dir():
        return
    text = str(path)
    if URL.fullmatch(text):
        name = re.sub(r"^\w[\w-]*:/*", "", text)
        raise CheckpointError(
            f"expected a checkpoint file or folder, found the address {text}: nothing is downloaded here; fetch it "
            f"first (curl -LO for a file, `hf download {name}` of huggingface_hub for a hub's folder), then give "
            "what was fetched"
        )
    if HUB_ID.fullmatch(text) and not path.parent.exists():
        raise CheckpointError(
            f"expected a checkpoint file or folder, found none at {path}; if it is a model of the Hugging Face hub: "
            f"nothing is downloaded here, fetch it first (`hf download {text} --local-dir {path.name}`), "
            f"then give {path.name}"
        )
    raise CheckpointError(f"expected a checkpoint file or folder, found none at {path}")


def digest(files: tuple[Path, ...]) -> str:
    """Hash the files that weights were read from: of several, their names and hashes, as sha256sum lists them."""
    if len(files) == 1:
        return sha256_of(files[0])
    lines = sorted(f"{sha256_of(file)}  {file.name}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(found: WeightFiles) -> tuple[Mapping[Any, Any], str]:
    """Read the top level of a file, or the tensors of every shard."""
    if not found.shard_of:
        return _file(found.files[0])
    tensors: dict[str, Any] = {}
    for file in found.files:
        content, kind = _file(file)
        for name, value in content.items():
            if found.shard_of.get(name) == file:
                tensors[name] = value
    if missing := [name for name in found.shard_of if name not in tensors]:
        raise CheckpointError(
            f"expected {len(found.shard_of)} tensors in {len(found.files)} shards, {len(missing)} are in none: "
            f"{missing[0]}"
        )
    return tensors, kind


def _file(path: Path) -> tuple[Mapping[Any, Any], str]:
    if path.suffix == ".safetensors" or is_safetensors(path):
        return read_safetensors(path)[0], "safetensors"
    content = read_torch(path)
    if not isinstance(content, Mapping):
        named = getattr(type(content), "name", "") or type(content).__name__
        advice = (
            ": save its state dict (torch.save(model.state_dict(), ...)) and export that"
            if hasattr(content, "state")
            else ""
        )
        raise CheckpointError(f"expected a state dict or a wrapper of one, found a {named} in {path}{advice}")
    return content, "PyTorch"


def _container(found: WeightFiles, kind: str, content: Mapping[Any, Any]) -> str:
    if "pytorch-lightning_version" in content:
        return f"{kind} {found.container}, written by Lightning"
    meta = content.get("meta")
    if isinstance(meta, Mapping) and any(str(name).startswith(("mmengine", "mmcv")) for name in meta):
        return f"{kind} {found.container}, written by OpenMMLab"
    return f"{kind} {found.container}"


def _openmmlab(meta: Any) -> tuple[Mapping[str, Any], tuple[str, ...], str]:
    """Read the configuration, the class names and the library of an OpenMMLab file."""
    if not isinstance(meta, Mapping):
        return {}, (), ""
    text = meta.get("cfg", meta.get("config"))
    config = read_config_text(text) if isinstance(text, str) else {}
    dataset = meta.get("dataset_meta")
    names = dataset.get("classes") if isinstance(dataset, Mapping) else meta.get("CLASSES")
    labels = tuple(map(str, names)) if isinstance(names, list | tuple) else ()
    scope = str(config.get("default_scope", ""))
    named = scope if scope in WRITERS else next((name for name in WRITERS if f"{name}_version" in meta), "")
    return config, labels, named


def _unread(content: Mapping[Any, Any]) -> tuple[str, ...]:
    names = unread(content)
    return (f"not read, though it may tell of the model: {listed(names)}",) if names else ()


def _notes(found: WeightFiles, unwrapped: Unwrapped) -> tuple[str, ...]:
    notes = (*found.notes, *unwrapped.notes)
    if unwrapped.dropped:
        notes = (*notes, f"left out, no part of the model: {listed(unwrapped.dropped)}")
    return notes
