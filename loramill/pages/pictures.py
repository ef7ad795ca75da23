"""Pictures as inline SVG: sharp on paper, readable on a phone, no library in the page."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from markupsafe import Markup

COLUMNS: Final = 12
"""Columns of a histogram at most, the last one open to the right."""
WIDTH: Final = 360
HEIGHT: Final = 190
TOP: Final = 20
BOTTOM: Final = 26


@dataclass(frozen=True)
class Histogram:
    """How often values fall between edges of equal distance; the last column takes everything beyond."""

    low: int
    """Lower edge of the first column."""
    step: int
    """Width of a column."""
    counts: tuple[int, ...]
    is_open: bool
    """Whether the last column holds values beyond its upper edge."""


def histogram(values: Sequence[int]) -> Histogram:
    """Sort values into columns of a round width; the rare long ones share the last column."""
    ordered = sorted(values)
    most = ordered[min(len(ordered) - 1, ceil(0.98 * len(ordered)))]
    step = _round_step((most - ordered[0] + 1) / (COLUMNS - 1))
    low = ordered[0] // step * step
    columns = min(COLUMNS, (ordered[-1] - low) // step + 1)
    places = [min((value - low) // step, columns - 1) for value in ordered]
    counts = tuple(places.count(place) for place in range(columns))
    return Histogram(low, step, counts, ordered[-1] >= low + columns * step)


def draw_histogram(shape: Histogram) -> "Markup":
    """Draw the columns with their counts above and their lower edges below."""
    from markupsafe import Markup

    slot = WIDTH / len(shape.counts)
    room = HEIGHT - TOP - BOTTOM
    most = max(shape.counts)
    parts = [_column(place, count, slot, room * count / most) for place, count in enumerate(shape.counts)]
    every = ceil(len(shape.counts) / 6)
    edges = [_edge(shape, place, slot) for place in range(0, len(shape.counts), every)]
    last = len(shape.counts) - 1
    if shape.is_open and last % every:
        edges[-1] = _edge(shape, last, slot)
    ground = f'<line x1="0" y1="{HEIGHT - BOTTOM}" x2="{WIDTH}" y2="{HEIGHT - BOTTOM}" class="ground"/>'
    inside = "".join([*parts, ground, *edges])
    return Markup(  # noqa: S704 - numbers only
        f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" focusable="false">{inside}</svg>'
    )


def draw_bar(parts: Sequence[tuple[str, int]], whole: int) -> "Markup":
    """Draw a lying bar of coloured parts, as long as their share of ``whole``; each part is (class, count)."""
    from markupsafe import Markup, escape

    pieces, start = [], 0.0
    for name, count in parts:
        width = 100 * count / max(whole, 1)
        if count:
            pieces.append(f'<rect class="{escape(name)}" x="{start:.2f}" y="0" width="{width:.2f}" height="10"/>')
        start += width
    return Markup(  # noqa: S704 - numbers and an escaped name
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f"{''.join(pieces)}</svg>"
    )


def _round_step(width: float) -> int:
    """Return the first of 1, 2, 5, 10, 20, 50 … that is not below ``width``."""
    power: int = 10 ** floor(log10(max(width, 1)))
    return next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= width)


def _column(place: int, count: int, slot: float, height: float) -> str:
    if not count:
        return ""
    left, top = place * slot, HEIGHT - BOTTOM - max(height, 1.5)
    return (
        f'<rect class="column" x="{left + 1.5:.1f}" y="{top:.1f}" width="{slot - 3:.1f}" height="{max(height, 1.5):.1f}"/>'
        f'<text class="count" x="{left + slot / 2:.1f}" y="{top - 5:.1f}">{count:,}</text>'
    )


def _edge(shape: Histogram, place: int, slot: float) -> str:
    beyond = "+" if shape.is_open and place == len(shape.counts) - 1 else ""
    value = shape.low + place * shape.step
    return f'<text class="edge" x="{place * slot + 1.5:.1f}" y="{HEIGHT - 8}">{value:,}{beyond}</text>'
