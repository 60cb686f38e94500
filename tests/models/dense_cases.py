"""Golden segmenters and detectors as files: what the original projects' training writes."""

from pathlib import Path
from typing import Any

import torch

from tests.models.golden_recipe import Case, case

FOLDER = Path(__file__).parent / "golden" / "dense"
VALUES = {name: {"heads": "1,2,5,8"} for name in ("pvt_semfpn", "pvt_v2_semfpn", "pvt_retinanet_fork")}
"""What no file tells: the heads of PVTs of unpublished widths."""


def golden(name: str) -> Case:
    return case(name, FOLDER)


def write(found: Case, folder: Path) -> Path:
    """Write a training file: of mmengine, or of mmcv 1 for the authors' own repositories."""
    head = found.meta["head"]
    count = head["classes"] if "classes" in head else head.get("bbox_head", {"num_classes": 4})["num_classes"]
    classes = tuple(f"class {index}" for index in range(count))
    new = found.meta["layout"].startswith(("mmseg 1", "mmdet 3"))
    meta: dict[str, Any] = {"mmcv_version": "1.3.0", "CLASSES": classes, "PALETTE": None}
    if new:
        meta = {"mmengine_version": "0.10.7", "dataset_meta": {"classes": classes, "palette": None}}
    path = folder / f"{found.name}.pth"
    torch.save({"meta": {**meta, "epoch": 1, "iter": 1}, "state_dict": found.state}, path)
    return path


def size(found: Case) -> tuple[int, int]:
    """Rows and columns of the case's input."""
    rows, cols = found.meta["input_shape"][2:]
    return rows, cols
