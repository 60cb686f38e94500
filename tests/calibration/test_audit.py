"""Each kind of unfit images is caught by its own check, by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slide_export.calibration.audit import Statistics, audit, channel_order
from slide_export.calibration.image_cache import ImageCache, PictureStore, cached, smoothness
from slide_export.calibration.images import bundled, decode, find
from slide_export.core.errors import CalibrationError
from slide_export.models import DataConfig

COUNT, SIDE = 48, 64
Pictures = NDArray[np.uint8]


def crops(seed: int = 0) -> Pictures:
    """Different crops of the bundled colour photographs of the earth, uint8 [N, H, W, 3]."""
    rng = np.random.default_rng(seed)
    wanted = ("astronaut", "chelsea", "coffee", "retina")
    photographs = [decode(file) for file in bundled().files if file.stem in wanted]
    made = []
    for index in range(COUNT):
        picture = photographs[index % len(photographs)]
        left, top = rng.integers(0, picture.width - 160), rng.integers(0, picture.height - 160)
        made.append(np.asarray(picture.crop((left, top, left + 160, top + 160)).resize((SIDE, SIDE))))
    return np.stack(made)


def saved(pictures: Pictures, place: Path, data: DataConfig) -> ImageCache:
    np.savez(place / "pictures.npz", images=pictures)
    return cached(find(place / "pictures.npz"), PictureStore(data, (SIDE, SIDE)))


def test_photographs_pass_without_a_word(tmp_path: Path) -> None:
    report = audit(saved(crops(), tmp_path, DataConfig()))
    assert report.findings == ()
    assert report.images == COUNT


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    changed = crops()
    changed[7, SIDE // 2, SIDE // 2] ^= 1
    hashes = [audit(saved(pictures, tmp_path, DataConfig())).sha256 for pictures in (crops(), crops(), changed)]
    assert hashes[0] == hashes[1] != hashes[2]


def noise(pictures: Pictures) -> Pictures:
    return np.random.default_rng(0).integers(0, 256, pictures.shape, dtype=np.uint8)


def constant(pictures: Pictures) -> Pictures:
    return np.concatenate([pictures[:40], np.broadcast_to(pictures[40:, :1, :1], pictures[40:].shape)])


UNFIT: list[tuple[str, Callable[[Pictures], Pictures], DataConfig]] = [
    ("random-images", noise, DataConfig()),
    ("constant-images", constant, DataConfig()),
    ("duplicate-images", lambda pictures: pictures[np.arange(COUNT) % 20], DataConfig()),
    ("wrong-normalisation", lambda pictures: pictures, DataConfig(mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4))),
    ("wrong-normalisation", lambda pictures: 250 - pictures // 6, DataConfig()),
    ("channel-order", lambda pictures: pictures[..., ::-1], DataConfig()),
]


@pytest.mark.parametrize(("name", "spoil", "data"), UNFIT, ids=[f"{case[0]}-{i}" for i, case in enumerate(UNFIT)])
def test_unfit_images_are_refused_by_name(
    name: str, spoil: Callable[[Pictures], Pictures], data: DataConfig, tmp_path: Path
) -> None:
    with pytest.raises(CalibrationError, match=f"^{name}: expected "):
        audit(saved(np.ascontiguousarray(spoil(crops())), tmp_path, data))


def test_what_a_recipe_accepts_is_kept_as_a_finding(tmp_path: Path) -> None:
    swapped = np.ascontiguousarray(crops()[..., ::-1])
    report = audit(saved(swapped, tmp_path, DataConfig()), accept=("channel-order",))
    assert [(finding.name, finding.severity) for finding in report.findings] == [("channel-order", "error")]


def test_a_few_of_them_are_a_warning(tmp_path: Path) -> None:
    pictures = crops()
    pictures[3] = 9
    pictures[5] = pictures[6]
    pictures[8] = noise(pictures[8])
    report = audit(saved(pictures, tmp_path, DataConfig()))
    assert {(finding.name, finding.severity) for finding in report.findings} == {
        ("random-images", "warning"),
        ("constant-images", "warning"),
        ("duplicate-images", "warning"),
    }
    assert "000008" in report.findings[0].message


def test_few_and_narrow_images_are_a_warning(tmp_path: Path) -> None:
    pictures = (crops()[:9] // 8 + 100).astype(np.uint8)
    report = audit(saved(pictures, tmp_path, DataConfig()), accept=("wrong-normalisation",))
    assert {"few-images", "narrow-range"} <= {finding.name for finding in report.findings}


def test_equal_channel_means_tell_no_order(tmp_path: Path) -> None:
    data = DataConfig(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    swapped = np.ascontiguousarray(crops()[..., ::-1])
    assert audit(saved(swapped, tmp_path, data)).findings == ()


@pytest.mark.parametrize(("errors", "refused"), [(3.9, False), (4.1, True)])
def test_the_order_counts_as_swapped_beyond_four_standard_errors(errors: float, refused: bool) -> None:
    """Red less blue of 32 images, whose mean is so many standard errors on the side that the checkpoint's is not."""
    spread = np.resize([1.0, -1.0], 32)
    standard_error = spread.std(ddof=1) / 32**0.5
    means = np.tile([100.0, 120.0, 100.0], (32, 1))
    means[:, 0] += spread - errors * standard_error
    statistics = Statistics(means, means**2, np.ones(32), ("",) * 32, np.ones(256, np.int64))
    assert bool(list(channel_order(statistics, DataConfig()))) is refused


def test_smoothness_of_noise_and_of_a_ramp() -> None:
    rough = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
    assert abs(smoothness(Image.fromarray(rough))) < 0.02
    assert smoothness(Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1)))) > 0.95
    assert smoothness(Image.new("L", (8, 8), 3)) == 1.0


def test_a_sample_of_two_inputs_is_one_of_the_set(tmp_path: Path) -> None:
    pictures = crops()
    np.savez(tmp_path / "pictures.npz", images=pictures)
    images = find(tmp_path / "pictures.npz")
    store = PictureStore(DataConfig(), (SIDE, SIDE))
    store.take({file: (file, images.files[0]) for file in images.files})
    report = audit(cached(images, store))
    assert report.images == COUNT
    assert report.findings == ()  # the second inputs are all the same, and no sample is another
