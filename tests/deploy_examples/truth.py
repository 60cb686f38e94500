"""What ONNX Runtime for Python says of an image: what every example must say too."""

import json
from pathlib import Path

import numpy as np
import onnxruntime

from slide_export.calibration.images import decode
from slide_export.inference.preprocess import crop, normalise
from slide_export.models import DataConfig


def best(bundle: Path, image: Path) -> tuple[str, float]:
    """The best class of an image and its probability in percent."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    said = manifest["preprocessing"]
    data = DataConfig(**{name: said[name] for name in DataConfig.__dataclass_fields__})
    feeds = {"images": normalise(crop(decode(image), data, tuple(said["crop"]))[None], data)}
    session = onnxruntime.InferenceSession(bundle / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, feeds)[0]
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    return manifest["labels"][int(shares.argmax())], 100 * float(shares.max())
