"""A network of two layers, written as ncnn reads it."""

from pathlib import Path

import numpy as np

from slide_export.backends.ncnn.network import Layer, render, weights_of

DOUBLED = (
    Layer("Input", "images", (), ("images",)),
    Layer("BinaryOp", "twice/BinaryOp", ("images",), ("twice",), {0: "2", 1: "1", 2: "2.0"}),
    Layer("BinaryOp", "more/BinaryOp", ("twice",), ("logits",), {0: "0", 1: "1", 2: "1.0"}),
)
IMAGE = np.arange(12, dtype=np.float32).reshape(3, 2, 2)


def network(folder: Path, layers: tuple[Layer, ...] = DOUBLED, data: bytes = b"") -> Path:
    path = folder / "model.param"
    path.write_text(render(layers))
    weights_of(path).write_bytes(data)
    return path
