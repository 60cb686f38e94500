"""Upstream's own outputs for NBNet and MV-Swin-T, from a checkpoint through each target's runtime."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import slide_export
from slide_export.backends import optional, registry
from slide_export.bundle.store import Bundle
from slide_export.proof.session import open_session
from tests.models.golden_recipe import Case, case

TOLERANCE = 1e-4
"""Largest error over the output's deviation. Both amplify rounding, upstream's own too: cosines times up to 100, and a
basis whose condition is up to 1e4."""
CASES = {
    "nbnet_d3": ("output_exact", ("images",)),
    "nbnet": ("output_exact", ("images",)),
    "mv_swin_t": ("logits", ("cc", "mlo")),
}
FAST = [("onnx", "nbnet_d3"), ("onnx", "mv_swin_t")]
SLOW = [(target, name) for target in registry.names() for name in CASES if (target, name) not in FAST]


def exported(golden: Case, target: str, out: Path) -> Bundle:
    """The golden model's bundle; a fixed input size where no shape tells it, the noise itself of NBNet."""
    torch.save({"state_dict": golden.state}, out / "golden.pth")
    count, _, *size = next(iter(golden.inputs.values())).shape
    options: dict[str, Any] = {"output": "noise", "input_size": tuple(size)} if golden.name.startswith("nbnet") else {}
    of_fixed_batch = optional.fixed_batches(registry.load(target)) is not None
    if of_fixed_batch or (target == "coreml" and len(golden.inputs) > 1):  # which takes several at one batch size
        options["batch"] = count
    return slide_export.export(out / "golden.pth", target, out=out, image_count=2, **options)


def error(golden: Case, target: str, out: Path) -> float:
    made = exported(golden, target, out)
    backend, artifact = registry.load(target), made.manifest.artifact
    graph = made.path / artifact.graph if artifact.graph else None
    session = open_session(backend, made.path / artifact.path, graph, artifact.settings)
    output, names = CASES[golden.name]
    images = (image.numpy() for image in golden.inputs.values())
    (found,) = session.run(dict(zip(names, images, strict=True))).values()
    expected = golden.outputs[output].astype(np.float64)
    return float(np.abs(found - expected).max() / expected.std())


@pytest.mark.parametrize(("target", "name"), FAST)
def test_an_artifact_gives_what_upstream_gives(target: str, name: str, tmp_path: Path) -> None:
    assert error(case(name), target, tmp_path) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.usefixtures("converter")
@pytest.mark.parametrize(("target", "name"), SLOW)
def test_every_target_gives_what_upstream_gives(target: str, name: str, tmp_path: Path) -> None:
    if not registry.availability(target).ready:
        pytest.skip(f"{target} is not installed")
    assert error(case(name), target, tmp_path) <= TOLERANCE


def test_a_changed_weight_is_beyond_the_tolerance(tmp_path: Path) -> None:
    golden = case("mv_swin_t")
    golden.state["head.weight"][0] *= 1.01
    assert error(golden, "onnx", tmp_path) > TOLERANCE
