"""Each kind of unfit images is caught by its own check, by name."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from slide_export.calibration.audit import (
    Statistics,
    _duplicates,
    _few,
    _narrow,
    _random,
    _share,
    audit,
    channel_order,
    normalisation,
    statistics_of,
)
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


@pytest.mark.parametrize(("errors", "refused"), [(3.99, False), (4.01, True)])
def test_the_order_counts_as_swapped_beyond_four_standard_errors(errors: float, refused: bool) -> None:
    """Red less blue of 32 images, whose mean is so many standard errors on the side that the checkpoint's is not."""
    spread = np.resize([1.0, -1.0], 32)
    standard_error = spread.std(ddof=1) / 32**0.5
    means = np.tile([100.0, 120.0, 100.0], (32, 1))
    means[:, 0] += spread - errors * standard_error
    statistics = Statistics(means, means**2, np.ones(32), ("",) * 32, np.ones(256, np.int64))
    assert bool(list(channel_order(statistics, DataConfig()))) is refused


def coloured(
    means: NDArray[np.float64],
    *,
    spread: float = 60.0,
    digests: Sequence[str] | None = None,
    histogram: NDArray[np.int64] | None = None,
) -> Statistics:
    """Statistics of images with these mean colours, 0..255 [N, 3]; `spread` is that of all pixels of a channel."""
    squares = np.tile(np.square(means.mean(axis=0)) + spread**2, (len(means), 1))
    named = tuple(map(str, range(len(means)))) if digests is None else tuple(digests)
    return Statistics(
        means, squares, np.ones(len(means)), named, np.ones(256, np.int64) if histogram is None else histogram
    )


@pytest.mark.parametrize(("deviations", "severities"), [(0, []), (10, ["warning"]), (11, ["error"])])
def test_more_than_a_tenth_of_unfit_images_is_an_error(deviations: int, severities: list[str]) -> None:
    wrong = np.arange(100) < deviations
    found = list(_share("constant-images", wrong, tuple(map(str, range(100))), "pictures", "a single colour"))
    assert [finding.severity for finding in found] == severities


def test_noise_has_neighbours_that_know_little_of_each_other() -> None:
    pictures: Any = SimpleNamespace(smoothness=(0.0, 0.29, 0.3, 0.31, -0.29, -0.31, 1.0))
    assert _random(pictures).tolist() == [True, True, False, False, True, False, False]


@pytest.mark.parametrize(("share", "step", "constant"), [(4, 4, True), (2, 3, True), (2, 4, False)])
def test_one_colour_is_a_deviation_below_two(share: int, step: int, constant: bool, tmp_path: Path) -> None:
    """One pixel of `share` is brighter by `step`: deviations of 1.7, 1.5 and 2."""
    pictures = crops()
    pictures[-1] = 100
    pictures[-1, :, ::share] += step
    found = audit(saved(pictures, tmp_path, DataConfig(keep_aspect=False, scale=1.0))).findings
    assert [finding.name for finding in found] == (["constant-images"] if constant else [])


@pytest.mark.parametrize(("distinct", "severities"), [(20, []), (19, ["warning"]), (10, ["warning"]), (9, ["error"])])
def test_fewer_than_half_different_images_are_an_error(distinct: int, severities: list[str]) -> None:
    statistics = coloured(np.full((20, 3), 120.0), digests=[str(index % distinct) for index in range(20)])
    found = list(_duplicates(statistics, tuple(map(str, range(20)))))
    assert [finding.severity for finding in found] == severities
    assert all(f"found {distinct}; {distinct} is 0 again" in finding.message for finding in found)


@pytest.mark.parametrize(("count", "few"), [(31, True), (32, False)])
def test_thirty_two_images_are_enough(count: int, few: bool) -> None:
    digests = [*map(str, range(count)), "0"]
    assert bool(list(_few(coloured(np.full((count + 1, 3), 120.0), digests=digests)))) is few


PLAIN = DataConfig(mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


@pytest.mark.parametrize(
    ("centre", "width", "wrong"),
    [
        (1.79, 1, False),
        (1.81, 1, True),
        (-1.79, 1, False),
        (-1.81, 1, True),
        (0, 0.151, False),
        (0, 0.149, True),
        (0, 2.99, False),
        (0, 3.01, True),
    ],
)
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_normalised_images_have_about_mean_0_and_deviation_1(
    centre: float, width: float, wrong: bool, channel: int
) -> None:
    """One channel is off; a deviation of 3 is more than pixels of 0..255 have beside a std of 0.2."""
    means, squares = np.full((40, 3), 127.5), np.full((40, 3), 127.5**2 + 51**2)
    means[:, channel] += 51 * centre
    squares[:, channel] = means[0, channel] ** 2 + (51 * width) ** 2
    statistics = replace(coloured(means), squares=squares)
    assert bool(list(normalisation(statistics, PLAIN))) is wrong
    assert not list(normalisation(statistics, DataConfig(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))))


@pytest.mark.parametrize(("mean", "spread"), [(0.9, 0.5), (-0.9, 0.5), (0.0, 0.075), (0.0, 1.5)])
def test_what_is_at_the_bound_is_normalised(mean: float, spread: float) -> None:
    """Beside a mean of 0 and a std of 0.5, which divides exactly."""
    statistics: Any = SimpleNamespace(colours=(np.full(3, mean), np.full(3, spread)))
    assert not list(normalisation(statistics, DataConfig((0.0, 0.0, 0.0), (0.5, 0.5, 0.5))))


def blue(count: int) -> NDArray[np.float64]:
    """Mean colours whose blue is above red by 190."""
    means = np.tile([20.0, 110.0, 210.0], (count, 1))
    means[:, 0] += np.resize([1.0, -1.0], count)
    return means


@pytest.mark.parametrize(("count", "refused"), [(15, False), (16, True)])
def test_sixteen_coloured_images_show_the_order(count: int, refused: bool) -> None:
    assert bool(list(channel_order(coloured(blue(count)), DataConfig()))) is refused
    grey = np.concatenate([blue(15), np.tile([100.0, 100.5, 101.0], (20, 1))])  # within one step: no colour
    assert not list(channel_order(coloured(grey), DataConfig()))
    pale = np.tile([100.0, 100.5, 101.5], (16, 1))
    assert list(channel_order(coloured(pale), DataConfig()))


def test_red_that_equals_blue_shows_no_order() -> None:
    assert not list(channel_order(coloured(np.tile([100.0, 120.0, 100.0], (40, 1))), DataConfig()))


@pytest.mark.parametrize(("red", "refused"), [(0.029, False), (0.031, True), (-0.031, False)])
def test_means_that_are_nearly_equal_show_no_order(red: float, refused: bool) -> None:
    data = DataConfig(mean=(0.45 + red, 0.45, 0.45), std=(0.2, 0.2, 0.2))
    assert bool(list(channel_order(coloured(blue(40)), data))) is refused
    assert list(channel_order(coloured(blue(40)), DataConfig(mean=(0.03, 0.0, 0.0))))
    (finding,) = channel_order(coloured(blue(40)), DataConfig())
    assert "red +0.08 of blue as the checkpoint's mean has it, found -0.75 ± 0.00 over 40 images" in finding.message


@pytest.mark.parametrize(("last", "narrow"), [(63, True), (64, False)])
def test_values_over_less_than_a_quarter_are_narrow(last: int, narrow: bool) -> None:
    """A hundredth of the values on each side does not count."""
    histogram = np.zeros(256, np.int64)
    histogram[0], histogram[last], histogram[30] = 110, 110, 9780
    assert bool(list(_narrow(coloured(np.full((40, 3), 120.0), histogram=histogram)))) is narrow
    histogram[0], histogram[last] = 97, 97
    (finding,) = _narrow(coloured(np.full((40, 3), 120.0), histogram=histogram))
    assert finding.message.endswith("within 30..30")


def test_an_error_names_the_others_and_how_to_accept_it(tmp_path: Path) -> None:
    swapped = np.ascontiguousarray(np.tile(crops()[:20], (3, 1, 1, 1))[..., ::-1])
    with pytest.raises(CalibrationError) as refused:
        audit(saved(swapped, tmp_path, DataConfig()))
    assert str(refused.value).startswith("duplicate-images: expected 60 different images, found 20; ")
    assert " (and channel-order); if that is as meant, " in str(refused.value)
    assert str(refused.value).endswith("say so in a quantization recipe, accept: [duplicate-images]")
    with pytest.raises(CalibrationError) as random:
        audit(saved(noise(crops()), tmp_path, DataConfig()))
    assert "accept" not in str(random.value)
    assert "(and" not in str(random.value)


def test_findings_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    report = audit(saved(crops()[:9], tmp_path, DataConfig()))
    assert [finding.name for finding in report.findings] == ["few-images"]
    assert caplog.messages == [f"few-images: {report.findings[0].message}"]


def test_statistics_are_those_of_the_pixels() -> None:
    pictures = crops()[:3]
    found = statistics_of(pictures)
    mean, deviation = found.colours
    flat = pictures.reshape(-1, 3) / 255
    assert mean == pytest.approx(flat.mean(axis=0))
    assert deviation == pytest.approx(flat.std(axis=0))
    assert found.deviations[1] == pytest.approx(np.sqrt(pictures[1].reshape(-1, 3).var(axis=0).mean()))
    assert found.histogram.tolist() == np.bincount(pictures.ravel(), minlength=256).tolist()
    assert statistics_of([np.full((4, 4, 3), 0, np.uint8)]).histogram.tolist() == [48, *[0] * 255]


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
