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
from slide_export.core.text import foreign

from .changes import Stamp, stamp
from .folders import WeightFiles, find_weights
from .numpy_pickle import is_numpy_pickle, read_numpy_pickle
from .openmmlab_text import read_config_text
from .prefixes import IsModel, nothing_known
from .tensor_files import StoredTensor, is_safetensors, read_safetensors, read_torch
from .text import listed
from .unread import unread
from .wrappers import Unwrapped, unwrap

URL = re.compile(r"([a-z][a-z\d+.-]*:)/+(\S+)|((?:hf-hub|hf_hub|timm|local-dir):)(\S+)")
HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w.-]+))?")
HUB_FILE = re.compile(r"(?:www\.)?huggingface\.co/([^/]+/[^/]+)(?:/(?:resolve|blob|tree)/([^/]+)(?:/(.+))?)?/?")
LONGEST = 1000  # letters of a class's name; of ImageNet's the longest has 131
WRITERS = ("mmpretrain", "mmcls", "mmseg", "mmdet")


@dataclass(frozen=True)
class Contents:
    """What a checkpoint holds.

    Attributes:
        tensors: the weights by name, without prefixes; those of safetensors are read when they are asked for.
        files: what they were read from.
        stamps: of those files, from before they were read.
        container: what the file or folder is, for people.
        wrapper: the key that the weights stood under.
        prefix: what was removed from every name.
        dropped: what is no part of the model.
        tree: the configuration that the training code put into the file, under `config`.
        config: the library's own: config.json beside the weights, or OpenMMLab's text.
        preprocessor: preprocessor_config.json.
        labels: class names that a training framework wrote.
        palette: a colour for each of them.
        writer: the library that the file names as its own, "" where it names none.
        notes: what was decided, one sentence each.
    """

    tensors: Mapping[str, StoredTensor]
    files: tuple[Path, ...]
    stamps: tuple[Stamp, ...]
    container: str
    wrapper: str
    prefix: str
    dropped: tuple[str, ...]
    tree: Mapping[str, Any] | None
    config: Mapping[str, Any]
    preprocessor: Mapping[str, Any]
    labels: tuple[str, ...]
    palette: tuple[tuple[int, ...], ...]
    writer: str
    notes: tuple[str, ...]


def read_checkpoint(
    path: Path, *, weights: str = "raw", weights_key: str | None = None, is_model: IsModel = nothing_known
) -> Contents:
    """Read the weights that a path names, and what stands beside them.

    Args:
        path: a file of any ending, an index of shards, or a folder.
        weights: "raw" or "ema".
        weights_key: where in the file they are; None finds them.
        is_model: see `wrappers.unwrap`.

    Raises:
        CheckpointError: there are none that can be read without running code.
        RequestError: the kind of weights does not exist.
    """
    refuse_absent(path)
    found, stamps, content, kind = _read(path)
    unwrapped = unwrap(content, weights, weights_key, str(path), is_model)
    config, labels, palette, writer = _openmmlab(content.get("meta"))
    return Contents(
        unwrapped.tensors,
        found.files,
        stamps,
        _container(found, kind, content),
        unwrapped.wrapper,
        unwrapped.prefix,
        unwrapped.dropped,
        _tree(content, path),
        found.config or config,
        found.preprocessor,
        labels,
        palette,
        writer,
        (*_notes(found, unwrapped), *unread(content)),
    )


def _read(path: Path) -> tuple[WeightFiles, tuple[Stamp, ...], Mapping[Any, Any], str]:
    """Read the top level of what a path names.

    Raises:
        CheckpointError: the system does not let it, or it is no checkpoint.
    """
    try:
        found = find_weights(path)
        stamps = tuple(stamp(file) for file in found.files)
        return found, stamps, *_content(found)
    except OSError as error:
        raise CheckpointError(f"expected a checkpoint that can be read at {path}, the system says: {error}") from error


def _tree(content: Mapping[Any, Any], path: Path) -> Mapping[str, Any] | None:
    """Find the training code's own configuration: a tree under `config`, or its YAML under `cfg`.

    Source of the latter: facebookresearch/mvit dfbdfdf, mvit/utils/checkpoint.py, save_checkpoint.

    Raises:
        CheckpointError: the text is no YAML.
    """
    tree = content.get("config", content.get("cfg"))
    if isinstance(tree, str):
        tree = _yaml(tree, path)
    return tree if isinstance(tree, Mapping) else None


def _yaml(text: str, path: Path) -> Any:
    """Read a configuration in YAML, without aliases: a kilobyte of them can stand for gigabytes.

    Raises:
        CheckpointError: the text is no YAML.
    """
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ValueError("aliases (*name)")
        return yaml.safe_load(text)
    except Exception as error:  # a foreign decoder: dates and numbers that are none raise what they like
        raise CheckpointError(
            f"expected a configuration in YAML under 'cfg' in {path}, found {foreign(error, 200)}"
        ) from error


def refuse_absent(path: Path) -> None:
    """Refuse a path that is not there, and say how to get what is elsewhere.

    Raises:
        CheckpointError: nothing is there.
    """
    if _is_there(path):
        return
    text = str(path)
    if address := URL.fullmatch(text):
        raise CheckpointError(_elsewhere(address[1] or address[3], address[2] or address[4]))
    if (hub := HUB_ID.fullmatch(text)) and not path.parent.exists():
        folder = hub[1].rpartition("/")[2]
        revision = f" --revision {hub[2]}" if hub[2] else ""
        raise CheckpointError(
            f"expected a checkpoint file or folder, found none at {path}; if it is a model of the Hugging Face hub: "
            f"nothing is downloaded here, fetch it first (`hf download {hub[1]}{revision} --local-dir {folder}`), "
            f"then give {folder}"
        )
    raise CheckpointError(f"expected a checkpoint file or folder, found none at {path}")


def _is_there(path: Path) -> bool:
    """Whether a file or a folder is there.

    Raises:
        CheckpointError: the system does not let anybody look.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected a checkpoint that can be read at {path}, the system says: {error}") from error
    if not (path.is_file() or path.is_dir()):
        raise CheckpointError(f"expected a checkpoint file or folder, {path} is a device, a pipe or a socket")
    return True


def _elsewhere(scheme: str, rest: str) -> str:
    """Say how to fetch what an address names; a path has one slash where the address has two."""
    if scheme in ("http:", "https:"):
        address, hub = f"{scheme}//{rest}", HUB_FILE.fullmatch(rest)
        how = f"`hf download {hub[1]}{f' {hub[3]}' if hub[3] else ''}`" if hub else f"`curl -LO {address}`"
    elif scheme in ("hf:", "hf-hub:", "hf_hub:", "timm:"):
        address, how = f"{scheme}{'//' if scheme == 'hf:' else ''}{rest}", f"`hf download {rest}`"
    elif scheme == "file:":
        return f"expected a checkpoint file or folder, found the address file:///{rest}: give the path, /{rest}"
    else:
        address, how = f"{scheme}//{rest}", "with the program of that storage or library"
    return (
        f"expected a checkpoint file or folder, found the address {address}: nothing is downloaded here; fetch it "
        f"first ({how}), then give what was fetched"
    )


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
            f"{foreign(missing[0])}"
        )
    return tensors, kind


def _file(path: Path) -> tuple[Mapping[Any, Any], str]:
    if path.suffix == ".safetensors" or is_safetensors(path):
        return read_safetensors(path)[0], "safetensors"
    if is_numpy_pickle(path):
        return read_numpy_pickle(path), "NumPy pickle"
    content = read_torch(path)
    if not isinstance(content, Mapping):
        named = getattr(type(content), "name", None)
        named = foreign(named if isinstance(named, str) and named else type(content).__name__)
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


def _openmmlab(meta: Any) -> tuple[Mapping[str, Any], tuple[str, ...], tuple[tuple[int, ...], ...], str]:
    """Read the configuration, the class names, their colours and the library of an OpenMMLab file."""
    if not isinstance(meta, Mapping):
        return {}, (), (), ""
    text = meta.get("cfg", meta.get("config"))
    config = _config_of(text) if isinstance(text, str) else {}
    dataset = meta.get("dataset_meta")
    names = dataset.get("classes") if isinstance(dataset, Mapping) else meta.get("CLASSES")
    labels = tuple(foreign(name, LONGEST) for name in names) if isinstance(names, list | tuple) else ()
    scope = foreign(config.get("default_scope", ""))
    named = scope if scope in WRITERS else next((name for name in WRITERS if f"{name}_version" in meta), "")
    colours = dataset.get("palette") if isinstance(dataset, Mapping) else meta.get("PALETTE")
    return config, labels, _palette(colours, len(labels)), named


def _palette(told: Any, count: int) -> tuple[tuple[int, ...], ...]:
    """A colour for each of some classes; none where there are others, or only a word such as "random"."""
    if not isinstance(told, list | tuple) or len(told) != count:
        return ()
    found = tuple(tuple(colour) if isinstance(colour, list | tuple) else () for colour in told)
    sound = all(len(colour) == 3 and all(type(one) is int and 0 <= one <= 255 for one in colour) for colour in found)
    return found if sound else ()


def _config_of(text: str) -> Mapping[str, Any]:
    """Read the text of a configuration.

    Raises:
        CheckpointError: what it says of the model cannot be read without running it.
    """
    try:
        return read_config_text(text)
    except ValueError as error:
        raise CheckpointError(
            f"expected a configuration of plain values in meta.cfg, as OpenMMLab's runners write it, found "
            f"{foreign(error, 200)}: save the file without its meta, and what it says is assumed"
        ) from error


def _notes(found: WeightFiles, unwrapped: Unwrapped) -> tuple[str, ...]:
    notes = (*found.notes, *unwrapped.notes)
    if unwrapped.dropped:
        notes = (*notes, f"left out, no part of the model: {listed(unwrapped.dropped)}")
    return notes
