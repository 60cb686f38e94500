"""Folders with weights: as downloaded from a hub, or as a trainer writes them; and the files that stand beside weights.

swin-tiny/  config.json  preprocessor_config.json  model.safetensors.index.json  model-00001-of-00004.safetensors ...
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from slide_export.core import typed_json
from slide_export.core.errors import CheckpointError
from slide_export.core.text import foreign

from .text import listed

INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json", "model.bin.index.json")
WHOLE = ("model.safetensors", "open_clip_pytorch_model.bin", "pytorch_model.bin", "model.bin")
SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(safetensors|bin)")
ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".pyth", ".tar")
TRAINING = (
    "optimizer",
    "scheduler",
    "random_states",
    "training_args",
    "rng_state",
    "scaler",
    "sampler",
    "trainer_state",
)
OTHER_FRAMEWORKS = (".h5", ".msgpack", "saved_model.pb", ".keras", ".onnx")
ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin", "adapter_config.json")


@dataclass(frozen=True)
class WeightFiles:
    """Files of one model's weights, and what stands beside them.

    Attributes:
        files: one, or every shard in the order of the index.
        container: what they are, for people.
        shard_of: of several files, name of a tensor -> the file that the index says it is in.
        config: config.json.
        preprocessor: preprocessor_config.json.
        notes: what was decided, one sentence each.
    """

    files: tuple[Path, ...]
    container: str
    shard_of: Mapping[str, Path] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    preprocessor: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_weights(path: Path) -> WeightFiles:
    """Find the weights that a path names: a file, an index of shards, or a folder.

    Raises:
        CheckpointError: there are none, several, or they are not whole.
    """
    if path.is_dir():
        return _in_folder(path)
    if path.name.endswith(".index.json"):
        return _shards(path, "index of shards")
    if path.suffix == ".json":
        raise CheckpointError(
            f"expected a checkpoint file or its folder, found the configuration {path}: give the folder {path.parent}"
        )
    if shard := SHARD.fullmatch(path.name):
        raise CheckpointError(
            f"expected a whole checkpoint, {path} is shard {int(shard[2])} of {int(shard[3])}: give the folder "
            f"{path.parent}, which must have all of them and their index"
        )
    if path.name in ADAPTERS:
        raise CheckpointError(
            f"expected a whole model, {path} holds adapter weights (LoRA): merge them into the model and save that"
        )
    config, preprocessor, notes = _beside(path.parent) if path.name in WHOLE else ({}, {}, ())
    return WeightFiles((path,), "file", {}, config, preprocessor, notes)


def _in_folder(folder: Path) -> WeightFiles:
    if (folder / "snapshots").is_dir():  # the cache of huggingface_hub
        return _in_folder(_only(sorted((folder / "snapshots").iterdir()), folder, "snapshot"))
    for name in INDEXES:
        if (folder / name).is_file():
            return _shards(folder / name, "folder of shards")
    config, preprocessor, notes = _beside(folder)
    whole = [folder / name for name in WHOLE if (folder / name).is_file()]
    if whole:
        told = (*notes, f"weights from {whole[0].name}, not from {whole[1].name}") if len(whole) > 1 else notes
        return WeightFiles((whole[0],), "folder", {}, config, preprocessor, told)
    if (folder / "latest").is_file():
        return _deepspeed(folder, config, preprocessor)
    _refuse_other_folders(folder)
    files = [
        file
        for file in sorted(folder.iterdir())
        if file.suffix in ENDINGS and file.is_file() and not file.name.startswith(TRAINING)
    ]
    file = _only(files, folder, "checkpoint")
    return WeightFiles((file,), "folder", {}, config, preprocessor, (*notes, f"weights from {file.name}"))


def _only(found: list[Path], folder: Path, what: str) -> Path:
    """Take the only one of several paths.

    Raises:
        CheckpointError: there are none, or several.
    """
    if len(found) == 1:
        return found[0]
    if found:
        names = listed([path.name for path in found])
        raise CheckpointError(f"expected one {what} in {folder}, found {names}: name one")
    if others := sorted(path.name for path in folder.iterdir() if path.name.endswith(OTHER_FRAMEWORKS)):
        raise CheckpointError(
            f"expected weights of PyTorch in {folder}, found {', '.join(others)}, of another framework: load them with "
            "their library and save them for PyTorch (transformers: from_pretrained(..., from_tf=True), then "
            "save_pretrained)"
        )
    below = sorted(path.name for path in folder.iterdir() if path.is_dir())
    inside = f"; it has the folders {', '.join(below[:8])}: name one that has weights" if below else ""
    raise CheckpointError(
        f"expected weights in {folder} ({', '.join(WHOLE[::2])}, shards with an index, or one checkpoint), "
        f"found none{inside}"
    )


def _refuse_other_folders(folder: Path) -> None:
    names = [path.name for path in folder.iterdir()]
    if any(name in ADAPTERS for name in names):
        raise CheckpointError(
            f"expected a whole model in {folder}, found adapter weights (LoRA): merge them into the model and save that"
        )
    if any(name.startswith("zero_pp_rank_") or name.endswith("_optim_states.pt") for name in names) and not any(
        name.endswith("model_states.pt") and not name.startswith("zero_pp_rank_") for name in names
    ):
        raise CheckpointError(_partitioned(folder))
    if shards := [name for name in names if SHARD.fullmatch(name)]:
        raise CheckpointError(
            f"expected the index of the shards in {folder} ({', '.join(INDEXES[:2])}), found them without it: "
            f"{', '.join(sorted(shards)[:4])}"
        )
    if ".metadata" in names:
        raise CheckpointError(
            f"expected weights in files of their own in {folder}, found a distributed checkpoint: turn it into one "
            "file with `python -m torch.distributed.checkpoint.format_utils dcp_to_torch`"
        )


def _partitioned(folder: Path) -> str:
    return (
        f"expected whole weights in {folder}, found those that DeepSpeed ZeRO parted: run its zero_to_fp32.py, "
        "and export what it writes"
    )


def _deepspeed(folder: Path, config: Mapping[str, Any], preprocessor: Mapping[str, Any]) -> WeightFiles:
    """Find the model's states in a DeepSpeed folder, whose file `latest` names the newest step.

    Source: deepspeed 0.17, runtime/engine.py, _get_ckpt_name and save_checkpoint.
    """
    step = folder / (folder / "latest").read_text(errors="replace").strip()
    if not step.is_dir() or step.name == ".." or step.parent.resolve() != folder.resolve():
        raise CheckpointError(f"expected the folder that {folder / 'latest'} names, found none: '{foreign(step.name)}'")
    files = sorted(step.glob("mp_rank_*_model_states.pt"))
    if list(step.glob("zero_pp_rank_*_model_states.pt")):
        raise CheckpointError(_partitioned(step))
    file = _only(files, step, "model states")
    return WeightFiles(
        (file,), "DeepSpeed folder", {}, config, preprocessor, (f"weights from {step.name}/{file.name}",)
    )


def _shards(index: Path, container: str) -> WeightFiles:
    """Read an index of shards: every tensor's name and its file."""
    content = read_json(index)
    shard_of = content.get("weight_map")
    if (
        not isinstance(shard_of, Mapping)
        or not shard_of
        or not all(isinstance(name, str) for name in shard_of.values())
    ):
        raise CheckpointError(f"expected an index of shards with a weight_map, {index} has none")
    names = tuple(dict.fromkeys(shard_of.values()))
    if outside := [name for name in names if Path(name).name != name]:
        raise CheckpointError(f"expected shards beside {index}, it names '{foreign(outside[0])}'")
    if missing := [name for name in names if not (index.parent / name).is_file()]:
        named = listed([foreign(name) for name in missing], most=4)
        raise CheckpointError(f"expected {len(names)} shards beside {index}, {len(missing)} are missing: {named}")
    files = {name: index.parent / name for name in names}
    config, preprocessor, notes = _beside(index.parent)
    return WeightFiles(
        tuple(files.values()),
        f"{container} ({len(names)})",
        {key: files[name] for key, name in shard_of.items()},
        config,
        preprocessor,
        notes,
    )


def _beside(folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any], tuple[str, ...]]:
    """Read the configurations in a folder."""
    found = [
        read_json(folder / name) if (folder / name).is_file() else {}
        for name in ("config.json", "preprocessor_config.json")
    ]
    read = [name for name, content in zip(("config.json", "preprocessor_config.json"), found, strict=True) if content]
    return found[0], found[1], (f"read {' and '.join(read)} beside the weights",) if read else ()


def read_json(path: Path) -> Mapping[str, Any]:
    """Read a JSON object.

    Raises:
        CheckpointError: the file is none.
    """
    try:
        content = typed_json.parse(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected a JSON object in {path}, it cannot be read: {foreign(error, 200)}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"expected a JSON object in {path}, found a {type(content).__name__}")
    return content
