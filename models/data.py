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
        fits: the whole picture is resized, its ratio kept, to the largest that the input holds, and stands at the top
            left; the rest is filled with the mean's colour, which normalising turns to 0.
    """

    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    interpolation: str = "bicubic"
    keep_aspect: bool = True
    scale: float = 256 / 224
    resizes: bool = True
    fits: bool = False

    @property
    def normalises(self) -> bool:
        """Whether colours are changed at all: False where a model takes those of 0..1 as they are."""
        return any(self.mean) or any(each != 1 for each in self.std)

    @property
    def fill(self) -> tuple[int, int, int]:
        """The colour of 0..255 that comes nearest to 0 when it is normalised."""
        red, green, blue = (round(255 * channel) for channel in self.mean)
        return red, green, blue

    def fitted(self, size: tuple[int, int], picture: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns that a picture of these has when it is fitted into an input.

        Source: open-mmlab/mmcv 2.1.0, mmcv/image/geometric.py, rescale_size and _scale_size.
        """
        factor = min(size[0] / picture[0], size[1] / picture[1])
        rows, cols = (max(1, int(side * factor + 0.5)) for side in picture)
        return min(rows, size[0]), min(cols, size[1])

    def resized(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns before the centre crop to `size`, rounded down as the sources do."""
        return int(size[0] * self.scale + 1e-6), int(size[1] * self.scale + 1e-6)
