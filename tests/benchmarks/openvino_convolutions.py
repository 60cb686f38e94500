"""Which convolutions of 8-bit activations this CPU computes wrongly under OpenVINO, of random sizes.

python -m tests.benchmarks.openvino_convolutions [COUNT]
"""

import random
import sys
from collections.abc import Iterator

from slide_export.backends.openvino.wide_kernels import feed_in_float
from tests.exporter.backends.openvino.quantized import RIGHT_DB, Convolution, decibel

COUNT = 1000
TAPS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 16)
CHANNELS = (3, 16, 24, 32, 48, 56, 64, 72, 96, 128, 256)


def drawn(count: int) -> Iterator[Convolution]:
    """Convolutions of random sizes, of maps as large as their kernel or larger; a kernel of one tap has no padding."""
    dice = random.Random(0)
    for _ in range(count):
        taps = dice.choice(TAPS)
        padding = dice.choice((0, 0, taps // 2))
        rows, cols = (dice.randint(max(taps - 2 * padding, 1), 48) for _ in range(2))
        yield Convolution(
            dice.choice((dice.randint(2, 63), *CHANNELS)),
            dice.choice((8, 16, 32, 64)),
            taps,
            dice.choice((1, 2, taps, dice.randint(1, taps + 1))),
            (rows, cols),
            padding,
        )


def main() -> None:
    """Print what is wrong, and what is wrong still where `feed_in_float` has been."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    wrong = fed = still = 0
    for asked in drawn(count):
        model = asked.model()
        layers = len(model.get_ordered_ops())
        is_wrong = decibel(model, asked) < RIGHT_DB
        feed_in_float(model)
        is_fed = len(model.get_ordered_ops()) < layers
        is_still = (is_wrong or is_fed) and decibel(model, asked) < RIGHT_DB
        wrong, fed, still = wrong + is_wrong, fed + is_fed, still + is_still
        if is_wrong:
            print(f"{'wrong still' if is_still else 'wrong'}: {asked}")
    print(f"of {count} convolutions {wrong} wrong in 8 bits; {fed} fed in float, {still} wrong still")


if __name__ == "__main__":
    main()
