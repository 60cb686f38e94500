from typing import Any

import numpy as np
import pytest
import torch

from slide_export.mil import Evaluator, MilError

PICTURE = np.random.default_rng(0).integers(0, 256, (4, 5, 3), np.uint8)


class Scale(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2.0


def traced(shape: tuple[int, ...]) -> Any:
    return torch.jit.trace(Scale(), torch.zeros(shape))


pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning")


@pytest.mark.parametrize("layout", ["RGB", "BGR"])
def test_scale_and_bias_of_an_image_are_operations_of_the_program(save: Any, layout: str) -> None:
    import coremltools as ct

    image = ct.ImageType(
        "x", (1, 3, 4, 5), scale=0.5, bias=[-1.0, -2.0, -3.0], color_layout=getattr(ct.colorlayout, layout)
    )
    package = save(traced((1, 3, 4, 5)), inputs=[image], outputs=[ct.TensorType("y")])
    assert (package.inputs[0].kind, package.inputs[0].color) == ("image", layout.lower())
    channels = PICTURE if layout == "RGB" else PICTURE[..., ::-1]
    planes = np.moveaxis(channels, -1, 0)[None].astype(np.float32)
    expected = (planes * 0.5 + np.array([-1, -2, -3], np.float32)[:, None, None]) * 2
    evaluator = Evaluator(package)
    assert np.array_equal(evaluator.run({"x": PICTURE})["y"], expected)
    assert np.array_equal(evaluator.run({"x": planes})["y"], expected)


def test_flexible_shapes_are_checked(save: Any) -> None:
    import coremltools as ct

    shape = (ct.RangeDim(1, 4, default=1), 3)
    evaluator = Evaluator(save(traced((1, 3)), inputs=[ct.TensorType("x", shape)], outputs=[ct.TensorType("y")]))
    assert evaluator.run({"x": np.ones((3, 3), np.float32)})["y"].shape == (3, 3)
    with pytest.raises(MilError, match=r"sizes within \(\(1, 4\), \(3, 3\)\)"):
        evaluator.run({"x": np.ones((5, 3), np.float32)})


def test_enumerated_shapes_are_checked(save: Any) -> None:
    import coremltools as ct

    shapes = ct.EnumeratedShapes([(1, 3), (4, 3)], default=(1, 3))
    evaluator = Evaluator(save(traced((1, 3)), inputs=[ct.TensorType("x", shapes)], outputs=[ct.TensorType("y")]))
    with pytest.raises(MilError, match="one of the shapes"):
        evaluator.run({"x": np.ones((2, 3), np.float32)})


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({"z": np.ones((2, 3), np.float32)}, r"inputs \['x'\] were expected, found \['z'\]"),
        ({"x": np.ones((2, 4), np.float32)}, r"shape fp32\[2, 3\] was expected, found \(2, 4\)"),
        ({"x": np.ones((2, 3), np.int32)}, "float16 or float32 was expected, found int32"),
        ({"x": np.ones((2, 3), np.float64)}, "float16 or float32 was expected, found float64"),
    ],
)
def test_wrong_feeds_are_refused(save: Any, feeds: dict[str, Any], message: str) -> None:
    import coremltools as ct

    evaluator = Evaluator(save(traced((2, 3)), inputs=[ct.TensorType("x", (2, 3))]))
    with pytest.raises(MilError, match=message):
        evaluator.run(feeds)
