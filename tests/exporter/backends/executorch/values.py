"""How far what a program shows is from what the model's modules give in float64."""

from collections.abc import Mapping

import numpy as np
import torch

from slide_export.backends import executorch as backend
from slide_export.core.artifact import Array, Artifact
from slide_export.diagnosis.hooks import recorded
from slide_export.inference.served import ServedModel


def errors(artifact: Artifact, source: ServedModel, images: Array) -> Mapping[str, float]:
    """Largest error of each module that is shown, of its own largest value."""
    told = {
        module: one.name for one in backend.values(artifact.path, artifact.settings) for module in one.output_of or ()
    }
    session = backend.intermediates(artifact.path, artifact.settings, tuple(dict.fromkeys(told.values())))
    found = session.run({"images": images})
    exact = recorded(source.in_float64(), told, (torch.from_numpy(images).double(),))
    assert exact.keys() == told.keys()
    return {
        module: float(
            np.abs(found[told[module]].reshape(expected.shape) - expected.numpy()).max() / expected.abs().max()
        )
        for module, (expected,) in exact.items()
    }
