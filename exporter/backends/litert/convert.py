"""Runs in the converter's environment and imports nothing of slide-export: a program to `.tflite`, or one quantized.

    python convert.py JOB ANSWER        both JSON

    convert     {"do", "program": a .pt2, "root": prefix of the model's own modules, "out"}      torch.export -> .tflite
    quantize    {"do", "model": a .tflite, "entries": see `quantize`, "feeds": [.npz], "out"}    .tflite -> .tflite

Its last line begins with "refused: " where it says in a sentence what it cannot do.
"""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Convert a saved program; each tensor is called "SCOPE;NUMBER" after the module that computes it."""
    import litert_torch
    import torch

    program = torch.export.load(job["program"])
    for node in program.graph.nodes:
        if stack := node.meta.get("nn_module_stack"):
            path = list(stack.values())[-1][0]
            # The converter writes CLASS_PATH for each module around; one without a path is written as its class.
            node.meta["nn_module_stack"] = {"scope": ("", _inside(path, job["root"]))}
    made = litert_torch.convert(program.module(), program.example_inputs[0])
    made.export(job["out"])
    return {"litert_torch": litert_torch.__version__}


def _inside(path: str, root: str) -> str:
    """`layers.0.attn` of `wrapper.module.layers.0.attn`; what is around the model is of the model as a whole."""
    return path.removeprefix(f"{root}.") if path.startswith(f"{root}.") else ""


def quantize(job: dict[str, Any]) -> dict[str, Any]:
    """Quantize the named operations of a file, nothing else; feeds are arrays by input names, a file a batch."""
    from ai_edge_quantizer import quantizer

    made = quantizer.Quantizer(job["model"])
    for entry in job["entries"]:
        _ask(made, **entry)
    ranges = None
    if made.need_calibration:
        ranges = _observed(job["model"], made.get_quantization_recipe(), _Feeds(job["feeds"]))
    result = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    Path(job["out"]).write_bytes(bytes(result.quantized_model))
    return {}


def _observed(model: str, recipe: Any, feeds: "_Feeds") -> Any:
    """Smallest and largest value of each tensor over all feeds.

    The quantizer's own `calibrate` moves an average of them along instead, which leaves out what is rare and large.
    """
    from ai_edge_quantizer import calibrator, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(recipe)
    observer = calibrator.Calibrator(model, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    observer.calibrate({"serving_default": feeds}, manager)
    return observer.get_model_qsvs()


def _ask(made: Any, regex: str, operation: str, method: str, per_channel: bool) -> None:
    """Tell the quantizer how one operation is quantized: its "weights", "dynamic", or "static" with its activations."""
    from ai_edge_quantizer import qtyping

    grain = qtyping.QuantGranularity.CHANNELWISE if per_channel else qtyping.QuantGranularity.TENSORWISE
    what = (regex, qtyping.TFLOperationName(operation))
    if method == "static":
        made.add_static_config(*what, activation_num_bits=8, weight_num_bits=8, weight_granularity=grain)
    elif method == "dynamic":
        made.add_dynamic_config(*what, num_bits=8, granularity=grain)
    else:
        made.add_weight_only_config(*what, num_bits=8, granularity=grain)


class _Feeds:
    """Arrays by input names, a file a batch; the quantizer goes through them twice."""

    def __init__(self, paths: list[str]) -> None:
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        import numpy

        for path in self._paths:
            with numpy.load(path, allow_pickle=False) as arrays:
                yield dict(arrays)


def main(job: Path, answer: Path) -> None:
    """Do a job and write its answer."""
    warnings.simplefilter("ignore")
    asked = json.loads(job.read_text())
    answer.write_text(json.dumps({"convert": convert, "quantize": quantize}[asked["do"]](asked), allow_nan=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
