"""Libraries that could stand in the place of our own code and do not: what the decisions rest on.

python -m tests.benchmarks.libraries BUNDLE/model.mlpackage
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import nn

from slide_export.calibration.recipe import default
from slide_export.linter.module_trace import observe
from slide_export.proof.fake_quant import _rounded_weight, _rounding
from tests.benchmarks.process import interleave
from tests.exporter.linter.conftest import RollBlock

ROUNDS = 3
VALUES = (40, 384, 1536)  # weights of 40 layers [384, 1536], or as many inputs
OURS = "import sys; from pathlib import Path; from slide_export.mil import Package; Package.read(Path(sys.argv[1]))"
THEIRS = (
    "import sys, coremltools as ct; from coremltools.converters.mil.frontend.milproto.load import load; "
    "spec = ct.models.utils.load_spec(sys.argv[1]); "
    "load(spec, spec.specificationVersion, sys.argv[1] + '/Data/com.apple.CoreML/weights')"
)


def fake_quantization() -> Iterator[str]:
    """Values that torch's kernel rounds otherwise than ONNX's QuantizeLinear, which divides by the scale."""
    torch.manual_seed(0)
    recipe, none = default("onnx", "int8"), torch.zeros(VALUES[1]).int()
    weights, inputs, steps = 0, 0, 0.0
    for values in torch.randn(VALUES):
        scale = values.abs().amax(1) / 127
        expected = _rounded_weight(values, recipe)
        found = torch.fake_quantize_per_channel_affine(values, scale, none, 0, -128, 127)
        weights += int((expected != found).sum())
        steps = max(steps, float(((expected - found).abs() / scale[:, None]).max()))
        low, high = float(values.min()), float(values.max())
        (expected,) = _rounding(low, high, symmetric=False)(nn.Identity(), (values,))
        step = (high - low) / 255
        found = torch.fake_quantize_per_tensor_affine(values, step, round(-low / step), 0, 255)
        inputs += int((expected != found).sum())
    yield f"torch.fake_quantize: {weights} weights and {inputs} inputs of {VALUES[0] * VALUES[1] * VALUES[2]:,} are"
    yield f"  {steps:.0f} step off"
    tiny = torch.finfo(torch.float32).tiny / 127
    zeros = torch.fake_quantize_per_channel_affine(torch.zeros(1, 4), torch.tensor([tiny]), none[:1], 0, -128, 127)
    yield f"  a channel of zeros becomes {float(zeros[0, 0]):g}"


def imports() -> Iterator[str]:
    """Processor time of what a binomial test costs, most of it an import."""
    costs = interleave({name: ["-c", f"import {name}"] for name in ("numpy", "scipy.stats")}, ROUNDS)
    for name, cost in costs.items():
        yield f"import {name}: {cost.cpu_seconds:.2f} s"


def packages(package: Path) -> Iterator[str]:
    """Processor time and memory of a process that reads one."""
    commands = {"slide_export.mil": OURS, "coremltools' milproto": THEIRS}
    for name, cost in interleave({name: ["-c", code, str(package)] for name, code in commands.items()}, ROUNDS).items():
        yield f"{name}: {cost.cpu_seconds:.2f} s, {cost.peak_mib:.0f} MiB"


def tracing() -> Iterator[str]:
    """What is seen of a module whose batch is baked in, which the linter is there to name."""
    module, example = RollBlock().eval(), torch.randn(2, 8, 8, 8)
    yield f"slide_export.linter: {len(observe(module, example).calls)} calls of operators"
    try:
        torch.export.export(module, (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    except torch._dynamo.exc.UserError as error:
        yield f"torch.export: {str(error).splitlines()[0]}"


def main(arguments: Sequence[str]) -> None:
    """Print each figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="a CoreML bundle's model.mlpackage")
    package = parser.parse_args(arguments).package
    for lines in (fake_quantization(), tracing(), imports(), packages(package)):
        print(*lines, sep="\n", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
