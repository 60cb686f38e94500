"""Two classifiers on the same images: is the difference of their accuracies more than chance?"""

import math


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p-value of McNemar's test: 1 where the two never disagree.

    Args:
        lost: images that only the first classifier has right.
        won: images that only the second has right.

    Source: McNemar, Psychometrika 12 (1947), with the binomial distribution instead of its approximation.
    """
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + won, 0.5).pvalue) if lost + won else 1.0


def drop_interval(lost: int, won: int, images: int, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the accuracy lost from first to second classifier, as shares of the images.

    Source: Bonett and Price, Journal of Educational and Behavioral Statistics 37 (2012), 479: the Wald interval of
    paired proportions after an image is added to either disagreement; it covers well for few of them.
    """
    from scipy.stats import norm

    first, second = (lost + 1) / (images + 2), (won + 1) / (images + 2)
    middle = first - second
    half = float(norm.ppf(0.5 + confidence / 2)) * math.sqrt((first + second - middle**2) / (images + 2))
    return max(middle - half, -1.0), min(middle + half, 1.0)


def better_than_chance(right: int, images: int, classes: int) -> bool:
    """Whether so many right answers are no luck of guessing among the classes, at one in a thousand."""
    from scipy.stats import binomtest

    return bool(binomtest(right, images, 1 / classes, alternative="greater").pvalue < 1e-3)
