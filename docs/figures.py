"""Bar charts as SVG for light and dark pages: no script, no font, no file beside the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

from results import table

WIDTH = 720
ROW, BAR, GAP = 22, 14, 12  # pixels: height of a bar's row, of the bar in it, and between groups
LABEL, VALUE = 150, 64  # pixels left of and right of the bars


@dataclass(frozen=True)
class Bars:
    """A bar chart: a group of bars for each label, a bar for each series.

    Attributes:
        series: name -> a value for each label.
        unit: of the values, as it stands behind each.
        line: a value to mark with a thin line, 1.0 of a ratio for instance.
    """

    title: str
    labels: tuple[str, ...]
    series: dict[str, tuple[float, ...]]
    unit: str = ""
    line: float | None = None


def draw(chart: Bars) -> str:
    """The chart as inline SVG."""
    largest = max(value for values in chart.series.values() for value in values)
    scale = (WIDTH - LABEL - VALUE) / largest
    group = ROW * len(chart.series) + GAP
    top = 34 if len(chart.series) > 1 else 8
    height = top + group * len(chart.labels)
    parts = [_legend(list(chart.series))] if len(chart.series) > 1 else []
    for row, label in enumerate(chart.labels):
        y = top + row * group
        middle = y + ROW * len(chart.series) / 2
        parts.append(f'<text class="label" x="{LABEL - 10}" y="{middle:.0f}">{escape(label)}</text>')
        for number, values in enumerate(chart.series.values()):
            parts.append(_bar(y + number * ROW, values[row], scale, number, chart.unit))
    if chart.line is not None:
        x = LABEL + chart.line * scale
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{height - 4}"/>')
    body = "".join(parts)
    name = escape(chart.title)
    return (
        f'<figure class="bars"><svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{name}">{body}</svg>'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _bar(y: float, value: float, scale: float, series: int, unit: str) -> str:
    if not value:
        return f'<text class="value" x="{LABEL + 6}" y="{y + ROW / 2:.0f}">not measured</text>'
    length = value * scale
    return (
        f'<rect class="series-{series}" x="{LABEL}" y="{y + (ROW - BAR) / 2:.0f}" width="{length:.1f}" height="{BAR}" '
        f'rx="2"/><text class="value" x="{LABEL + length + 6:.1f}" y="{y + ROW / 2:.0f}">{value:g}{escape(unit)}</text>'
    )


def _legend(names: Sequence[str]) -> str:
    return "".join(
        f'<rect class="series-{number}" x="{LABEL + 200 * number}" y="4" width="12" height="12" rx="2"/>'
        f'<text class="legend" x="{LABEL + 200 * number + 18}" y="10">{escape(name)}</text>'
        for number, name in enumerate(names)
    )


def forms() -> Bars:
    """Time of half a slide block in each form, on the newer CPU."""
    found = table("A CPU with AVX-512 and VNNI", "form")
    return Bars(
        "Half a slide block at 56x56 with 96 channels, milliseconds, on a CPU with AVX-512",
        found.column("form"),
        {
            "ONNX Runtime": found.numbers("ONNX Runtime 56², C 96"),
            "OpenVINO": found.numbers("OpenVINO 56², C 96"),
        },
        " ms",
    )


def parents() -> Bars:
    """Latency of each slide variant as a ratio to its parent's."""
    found = table("Slide attention beside the attention that it replaces")
    onnx, openvino = (place for place, name in enumerate(found.header) if name == "of its parent's")
    labels = tuple(row[0] for row in found.rows)
    columns = {"ONNX Runtime": onnx, "OpenVINO": openvino}
    series = {name: tuple(float(row[place]) for row in found.rows) for name, place in columns.items()}
    return Bars("Time of one image over the parent's, batch 1, 2 threads; the line is 1.00", labels, series, "", 1.0)


def sizes() -> Bars:
    """Size of Slide-Swin-T's artifact by target and precision."""
    found = table("Slide-Swin-T, size of the artifact")
    labels = tuple(f"{row[0]} {row[1]}" for row in found.rows)
    return Bars("Slide-Swin-T, size of the artifact", labels, {"MiB": found.numbers("MiB")}, " MiB")


def signal() -> Bars:
    """SQNR of Slide-Swin-T's artifacts."""
    found = table("Slide-Swin-T, size of the artifact")
    labels = tuple(f"{row[0]} {row[1]}" for row in found.rows)
    title = "Slide-Swin-T, signal to quantization noise against the float64 reference (6 dB is one bit)"
    return Bars(title, labels, {"SQNR": found.numbers("SQNR dB")}, " dB")


FIGURES: dict[str, Callable[[], Bars]] = {"forms": forms, "parents": parents, "sizes": sizes, "signal": signal}
