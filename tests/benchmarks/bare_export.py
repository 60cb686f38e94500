"""The least that any exporter does: load a checkpoint, torch.onnx.export, onnxsim, save. Proves nothing.

python -m tests.benchmarks.bare_export CHECKPOINT VARIANT OUT dynamo|torchscript
"""

import sys
import warnings
from pathlib import Path

import onnx
import onnxsim
import torch

from slide_export.models import family_of


def main(checkpoint: str, variant: str, out: str, exporter: str) -> None:
    """Exports the train-time module as it stands."""
    family = family_of(variant)
    module = family.build(family.variants[variant]).eval()
    module.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    example, path = torch.randn(2, 3, 224, 224), Path(out) / "bare.onnx"
    warnings.simplefilter("ignore")
    if exporter == "dynamo":
        shapes = ({0: torch.export.Dim("batch")},)
        torch.onnx.export(module, (example,), path, dynamo=True, dynamic_shapes=shapes, external_data=False)
    else:
        axes = {"images": {0: "batch"}}
        torch.onnx.export(module, (example,), path, dynamo=False, input_names=["images"], dynamic_axes=axes)
    simplified, _ = onnxsim.simplify(onnx.load(path))
    onnx.save(simplified, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
