"""How a checkpoint wants its images: the numbers behind resize, crop and normalisation."""

from dataclasses import dataclass

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class DataConfig:
    """Preprocessing of one checkpoint; values are of RGB in 0..1.

    Attributes:
        mean: subtracted from each channel.
        std: each channel is divided by it afterwards.
        interpolation: "bicubic" or "bilinear".
        keep_aspect: resize the short side (True) or both sides (False).
        scale: size after resizing over size after the centre crop; 1.0 crops nothing when both sides are resized.
        resizes: whether a picture larger than the input is resized at all; False cuts its middle, whose pixels stay as
            they are. A smaller one is always enlarged.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bicubic"
    keep_aspect: bool = True
    scale: float = 256 / 224
    resizes: bool = True

    @property
    def normalises(self) -> bool:
        """Whether colours are changed at all: False where a model takes those of 0..1 as they are."""
        return any(self.mean) or any(each != 1 for each in self.std)

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns before the centre crop to `size`, rounded down as the sources do."""
        return int(size[0] * self.scale + 1e-6), int(size[1] * self.scale + 1e-6)
