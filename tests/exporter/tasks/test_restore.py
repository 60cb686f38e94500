"""The task restore: what is given for an image, which files make a pair, and the figure of restored images."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from slide_export.core.artifact import ModelIO
from slide_export.core.errors import RequestError
from slide_export.tasks.restore import RESTORE, PeakSignal


class Tenth(nn.Module):
    """Takes a tenth of everything for noise."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images / 10


@pytest.mark.parametrize(("output", "share"), [("", 0.9), ("restored", 0.9), ("noise", 0.1)])
def test_the_image_less_its_noise_or_the_noise_itself(output: str, share: float) -> None:
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    io = ModelIO(output=output)
    (found,) = RESTORE.run(Tenth(), (images,), io)
    assert torch.allclose(found, share * images)
    assert RESTORE.outputs(io) == (output or "restored",)


@pytest.mark.parametrize("io", [ModelIO(softmax=True), ModelIO(labels=("a",))])
def test_what_only_classes_have_is_refused(io: ModelIO) -> None:
    with pytest.raises(RequestError, match="it has no classes"):
        RESTORE.check(io, None)


class Clean:
    """Reads one clean picture for every file."""

    def __init__(self, picture: np.ndarray) -> None:
        self.shown = picture

    def picture(self, _file: Path) -> np.ndarray:
        return self.shown

    def label_map(self, file: Path) -> np.ndarray:
        raise NotImplementedError(file)


def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    clean = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return clean, np.clip(clean.astype(int) + rng.integers(-20, 21, clean.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("output", ["restored", "noise"])
def test_the_figure_is_the_mean_psnr(output: str) -> None:
    clean, noisy = pair()
    restored = [noisy / 255, 0.5 * (noisy / 255 + clean / 255)]
    tally = PeakSignal(Clean(clean), None)
    given = restored if output == "restored" else [noisy / 255 - image for image in restored]
    found = np.stack([image.transpose(2, 0, 1) for image in given]).astype(np.float32)
    tally.add({output: found}, [np.stack([noisy, noisy])], [Path("a"), Path("b")])
    mean_square = ((noisy.astype(float) - clean) ** 2).mean() / 255**2
    expected = -10 * np.log10(mean_square) + 10 * np.log10(4) / 2  # half the error in the second: a quarter squared
    assert tally.value == pytest.approx(expected, abs=1e-4)  # float32 outputs


def test_an_exact_image_has_a_figure_too() -> None:
    clean, _ = pair()
    tally = PeakSignal(Clean(clean), None)
    exact = (clean / 255).transpose(2, 0, 1)[None]
    tally.add({"restored": exact}, [clean[None]], [Path("a")])
    assert tally.value == pytest.approx(120)


def test_before_and_after_are_drawn_side_by_side() -> None:
    assert RESTORE.picture is not None
    clean, noisy = pair()
    drawn = RESTORE.picture({"restored": (clean / 255).transpose(2, 0, 1)[None]}, [noisy], None)
    assert np.array_equal(drawn[:, :5], noisy)
    assert np.array_equal(drawn[:, 5:], clean)
    gray = RESTORE.picture({"noise": np.zeros((1, 3, 4, 5))}, [noisy], None)
    assert (gray[:, 5:] == 128).all()


def test_an_answer_in_words_has_range_and_strength() -> None:
    value = np.array([0.25, -0.25, 0.25, -0.25]).reshape(1, 1, 2, 2)
    assert RESTORE.draw({"noise": value}, ()) == ("noise  0.25 rms, -0.25 to 0.25",)
    assert RESTORE.draw({"restored": value}, ()) == ("restored  -0.25 to 0.25",)
