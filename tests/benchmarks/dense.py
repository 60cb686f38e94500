"""Full-size segmenters and detectors to each target: time and memory of a whole export, with its proof on two images.

    python -m tests.benchmarks.dense                                        every model, target and precision: hours
    python -m tests.benchmarks.dense swin_tiny_upernet --targets onnx       one of them

The rows that stand are printed as a table at the end.

Goals: at most 10 minutes and less than 8 GiB an export on two cores. A row stands in dense.jsonl once it is known, and
is not measured again; one that failed is.
"""

import argparse
import itertools
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from slide_export.models import family_of
from slide_export.models.dense import DENSE
from tests.benchmarks.process import Cost, run_once
from tests.models.golden_recipe import from_name

MODELS = (
    "swin_tiny_upernet",
    "slide_swin_tiny_upernet",
    "swin_tiny_semantic_fpn",
    "slide_swin_tiny_semantic_fpn",
    "pvt_small_upernet",
    "slide_pvt_small_upernet",
    "pvt_small_semantic_fpn",
    "slide_pvt_small_semantic_fpn",
    "swin_tiny_retinanet",
    "slide_swin_tiny_retinanet",
    "pvt_small_retinanet",
    "slide_pvt_small_retinanet",
)
TARGETS, PRECISIONS = ("onnx", "openvino", "coreml", "tensorrt"), ("fp32", "fp16")
IMAGES = 2
ROWS = Path(__file__).with_name("dense.jsonl")


def save(variant: str, directory: Path) -> Path:
    """Write a checkpoint of the variant, each tensor drawn from its name."""
    family = family_of(variant, DENSE)
    module = family.build(family.variants[variant])
    drawn = {key for key, _ in module.named_parameters()}
    own = {key: value for key, value in module.state_dict().items() if not key.endswith("attn_mask")}
    if "backbone.norm0.weight" not in own:  # PVT's maps are handed on as they are: the classifier's norm is not there
        own = {key: value for key, value in own.items() if not key.startswith("backbone.norm.")}
    state = {_authors(key): _drawn(key, value, drawn) for key, value in own.items()}
    path = directory / f"{variant}.pth"
    torch.save({"state_dict": state}, path)
    return path


def _authors(key: str) -> str:
    """A name as the authors' segmenters have it: the norm of the last map is numbered like the others."""
    return key.replace("backbone.norm.", "backbone.norm3.")


def _drawn(key: str, like: torch.Tensor, drawn: set[str]) -> torch.Tensor:
    """A parameter or a running statistic drawn from its name; a count, an index or a mask as it is."""
    statistics = key.endswith(("running_mean", "running_var"))
    return torch.from_numpy(from_name(key, tuple(like.shape))) if key in drawn or statistics else like


def measured(checkpoint: Path, target: str, precision: str, out: Path) -> tuple[Cost, dict[str, object]]:
    """Export in a process of its own; its cost, and what its manifest says."""
    command = ["-m", "slide_export", str(checkpoint), "--target", target, "--precision", precision]
    cost = run_once([*command, "--out", str(out), "--overwrite", "--image-count", str(IMAGES)])
    manifest = json.loads((out / f"{checkpoint.stem}-{target}-{precision}" / "manifest.json").read_text())
    size = sum(entry["bytes"] for name, entry in manifest["files"].items() if not name.startswith("golden"))
    worst = max(output["max_abs"] / output["limit_max"] for output in manifest["parity"]["outputs"])
    least = min(output["sqnr_db"] for output in manifest["parity"]["outputs"])
    return cost, {"bytes": size, "of_limit": worst, "sqnr_db": least}


def main(arguments: Sequence[str]) -> None:
    """Measure what is asked for, one export at a time."""
    asked = _parse(arguments)
    stand = {_key(row) for row in _rows(asked.rows) if "error" not in row}
    for variant in asked.models or MODELS:
        wanted = itertools.product([variant], asked.targets, asked.precisions)
        left = [key for key in wanted if key not in stand]
        with tempfile.TemporaryDirectory() as temporary:
            checkpoint = save(variant, Path(temporary)) if left else Path()
            for _, target, precision in left:
                row: dict[str, object] = {"variant": variant, "target": target, "precision": precision}
                try:
                    cost, found = measured(checkpoint, target, precision, Path(temporary))
                    row |= {**{name: round(value, 1) for name, value in vars(cost).items()}, **found}
                except RuntimeError as error:  # one that fails is a row too
                    row["error"] = str(error)[-2000:]
                with asked.rows.open("a") as file:
                    file.write(json.dumps(row, allow_nan=False) + "\n")
                print(row, flush=True)
    print(*_table(_rows(asked.rows)), sep="\n")


def _table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The rows that stand, in Markdown. Seconds are the processor's, which other work changes little."""
    yield "| model | target | precision | CPU s | peak MiB | artifact MiB | error over its limit | SQNR dB |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in sorted((row for row in rows if "error" not in row), key=_order):
        yield (
            f"| {row['variant']} | {row['target']} | {row['precision']} | {row['cpu_seconds']:.0f} | "
            f"{row['peak_mib']:,.0f} | {row['bytes'] / 2**20:.0f} | {row['of_limit']:.2f} | {row['sqnr_db']:.0f} |"
        )


def _order(row: dict[str, Any]) -> tuple[int, int, int]:
    return MODELS.index(row["variant"]), TARGETS.index(row["target"]), PRECISIONS.index(row["precision"])


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _key(row: dict[str, Any]) -> tuple[str, str, str]:
    return row["variant"], row["target"], row["precision"]


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help=", ".join(MODELS))
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS)
    parser.add_argument("--rows", type=Path, default=ROWS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
