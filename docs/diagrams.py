"""What a system's attention is trained as and what is exported: chains of boxes as SVG, for light and dark pages."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH = 720
LABEL, GAP = 76, 18  # pixels left of the boxes, and between two of them for the arrow
BOX, LANE = 44, 58  # pixels: height of a box, and from one lane to the next
LINE = 14  # pixels from one line of text to the next
LETTER = 6.4  # pixels of a letter at 11 px, at most: what a test holds texts to


@dataclass(frozen=True)
class Diagram:
    """Chains of boxes, one below the other.

    Attributes:
        lanes: (name, boxes from left to right); a line break in a box's text begins its second line.
    """

    title: str
    lanes: tuple[tuple[str, tuple[str, ...]], ...]


def draw(diagram: Diagram) -> str:
    """The diagram as inline SVG."""
    height = LANE * len(diagram.lanes)
    lanes = "".join(_lane(place * LANE, name, boxes) for place, (name, boxes) in enumerate(diagram.lanes))
    title = escape(diagram.title)
    return (
        f'<figure class="boxes" markdown="0"><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
        f"{lanes}</svg><figcaption>{title}</figcaption></figure>"
    )


def width(boxes: int) -> float:
    """Width of each box of a lane."""
    return (WIDTH - LABEL - GAP * (boxes - 1)) / boxes


def _lane(y: float, name: str, boxes: tuple[str, ...]) -> str:
    side, middle = width(len(boxes)), y + BOX / 2
    parts = [f'<text class="label" x="{LABEL - 10}" y="{middle:.0f}">{escape(name)}</text>']
    for place, text in enumerate(boxes):
        x = LABEL + place * (side + GAP)
        if place:
            parts.append(f'<path class="arrow" d="M{x - GAP + 2:.1f} {middle:.1f}h{GAP - 6}m-4 -4l4 4l-4 4"/>')
        parts.append(f'<rect x="{x:.1f}" y="{y + 1:.1f}" width="{side:.1f}" height="{BOX - 2}" rx="4"/>')
        lines = text.split("\n")
        for row, line in enumerate(lines):
            line_y = middle + (row - (len(lines) - 1) / 2) * LINE
            parts.append(f'<text class="box" x="{x + side / 2:.1f}" y="{line_y:.1f}">{escape(line)}</text>')
    return "".join(parts)


DIAGRAMS: dict[str, Diagram] = {
    "twins": Diagram(
        "Twins: positions come from a convolution behind the first block of a stage; the sum becomes a weight.",
        (
            ("trained", ("map x", "depthwise 3x3 of x", "x + convolution")),
            ("exported", ("map x", "depthwise 3x3, centre weights + 1")),
        ),
    ),
    "dat": Diagram(
        "DAT: every query looks at points that the queries move; products with hats take GridSample's place.",
        (
            (
                "trained",
                (
                    "queries to\noffsets",
                    "points, moved\nin place",
                    "GridSample\nof the map",
                    "attention to\nthe samples",
                ),
            ),
            (
                "exported",
                (
                    "queries to\noffsets",
                    "constants\n+ offsets",
                    "hats @ map, or\nGridSample",
                    "attention to\nthe samples",
                ),
            ),
        ),
    ),
    "mvitv2": Diagram(
        "MViTv2: pooled queries, keys and values; what positions add is one product with zeros and ones.",
        (
            (
                "trained",
                (
                    "q, k, v: pooled\nhead by head",
                    "tables looked up\nin every call",
                    "q k + rows + columns,\nrank 6",
                    "softmax, v, + q",
                ),
            ),
            ("exported", ("q, k, v: one\nconvolution", "tables as\nconstants", "q k + (q R) E", "softmax, v, + q")),
        ),
    ),
    "cbam": Diagram(
        "CBAM: a weight for each channel, then one for each position; BatchNorm is folded.",
        (
            (
                "trained",
                (
                    "pools over\nthe whole map",
                    "one MLP for both,\nsigmoid",
                    "largest and mean\nof the channels",
                    "7x7, BatchNorm,\nsigmoid",
                ),
            ),
            (
                "exported",
                (
                    "ReduceMean,\nReduceMax",
                    "one MLP for both,\nsigmoid",
                    "largest and mean\nof the channels",
                    "7x7, sigmoid",
                ),
            ),
        ),
    ),
    "gam": Diagram(
        "GAM: a weight for each channel and position, then two wide convolutions; a is drawn, a_plain has no sigmoid.",
        (
            ("trained", ("permute, MLP,\npermute", "sigmoid", "7x7, BatchNorm,\nReLU", "7x7, BatchNorm,\nsigmoid")),
            ("exported", ("two 1x1\nconvolutions", "sigmoid", "7x7, ReLU", "7x7, sigmoid")),
        ),
    ),
}
