"""A model of torchvision or transformers, saved as its users save it, on its way to ONNX Runtime, and compared.

    python from_library.py torchvision OUT
    python from_library.py transformers OUT

The model is small and random, so that nothing is downloaded; a trained one takes the same three lines. Exit codes: 0
the artifact gives what the library gives, 1 it does not, 2 bad usage, 3 the library is not installed.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

import slide_export

SIZE = (96, 160)  # neither library trained for it, and windows of 7 divide no map of it
CLOSE = 1e-4  # of the logits' standard deviation
Logits = Callable[[Tensor], Tensor]


def torchvision_swin(folder: Path) -> tuple[Path, Logits]:
    """A Swin of torchvision, saved by torch.save."""
    from torchvision.models.swin_transformer import SwinTransformer

    model = SwinTransformer([4, 4], 16, [2, 2, 2], [1, 2, 4], [7, 7], num_classes=10).eval()
    torch.save(model.state_dict(), folder / "swin.pth")
    return folder / "swin.pth", model


def transformers_pvt(folder: Path) -> tuple[Path, Logits]:
    """A PVTv2 of transformers, saved by save_pretrained: weights, config.json and the names of its classes."""
    from transformers import PvtV2Config, PvtV2ForImageClassification

    labels = {number: f"class {number}" for number in range(10)}
    config = PvtV2Config(hidden_sizes=[16, 32, 40, 64], depths=[1, 1, 1, 1], id2label=labels)
    model = PvtV2ForImageClassification(config).eval()
    model.save_pretrained(folder / "pvt_v2")
    return folder / "pvt_v2", lambda images: model(images).logits


LIBRARIES = {"torchvision": torchvision_swin, "transformers": transformers_pvt}


def difference(checkpoint: Path, logits: Logits, size: tuple[int, int], out: Path) -> float:
    """Export a checkpoint, run the artifact, and compare it with the library's own logits.

    Returns:
        The largest difference, relative to the logits' standard deviation.
    """
    bundle = slide_export.export(checkpoint, "onnx", out=out, input_size=size, overwrite=True)
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(bundle.path / bundle.manifest.artifact.path)
    (found,) = session.run(None, {bundle.manifest.inputs[0].name: images.numpy()})
    with torch.inference_mode():
        expected = logits(images).numpy()
    return float(np.abs(found - expected).max() / expected.std())


def main() -> int:
    """The exit code of the command line."""
    parser = argparse.ArgumentParser(description="From a library's checkpoint to a proved artifact.")
    parser.add_argument("library", choices=LIBRARIES)
    parser.add_argument("out", type=Path, help="directory for the checkpoint and the bundle")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    try:
        checkpoint, logits = LIBRARIES[asked.library](asked.out)
    except ImportError as error:
        print(f"error: {error}: pip install -r requirements.txt", file=sys.stderr)
        return 3
    found = difference(checkpoint, logits, SIZE, asked.out)
    equal = found <= CLOSE
    print(f"{'✓' if equal else '✗'} {asked.library} and ONNX Runtime differ by {found:.1e} of the logits' deviation")
    return int(not equal)


if __name__ == "__main__":
    sys.exit(main())
