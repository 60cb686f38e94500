"""Checkpoints of other libraries as those write them, from the golden cases' drawn weights."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.models.golden_recipe import Case, case

FORMATS = Path(__file__).parents[2] / "models" / "golden" / "formats"
NAMES = tuple(json.loads((FORMATS / "cases.json").read_text()))
OPENMMLAB = ("mmpretrain", "mmsegmentation", "mmdetection")


def golden(name: str) -> Case:
    """Draw a case of another library."""
    return case(name, FORMATS)


def write(case: Case, folder: Path) -> Path:
    """Write a case as its library does: transformers a folder, OpenMMLab a training file, the others a state dict."""
    library = case.meta["library"]
    if library == "transformers" and "torch.save" not in case.meta.get("names", ""):
        return write_folder(case, folder)
    content: dict[str, Any] = dict(case.state)
    if library in OPENMMLAB:
        prefix = "" if library == "mmpretrain" else "backbone."
        meta = {"mmengine_version": "0.10.7", "dataset_meta": {"classes": None}}
        content = {"meta": meta, "state_dict": {f"{prefix}{key}": value for key, value in case.state.items()}}
    path = folder / f"{case.name}.pth"
    torch.save(content, path)
    return path


def write_folder(case: Case, folder: Path) -> Path:
    """Write what save_pretrained writes."""
    place = folder / case.name
    place.mkdir()
    save_file({key: value.contiguous() for key, value in case.state.items()}, place / "model.safetensors")
    (place / "config.json").write_text(json.dumps(case.meta["arguments"]))
    return place
