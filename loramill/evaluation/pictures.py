"""Gains and losses as inline SVG. Numbers only: the words stand beside it on the page, in both languages."""

from collections.abc import Sequence
from math import floor, isfinite, log10
from statistics import fmean
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH: Final = 720
HEIGHT: Final = 220
LEFT: Final = 44
BOTTOM: Final = 24
TOP: Final = 10
POINTS: Final = 240
"""Points of a curve at most: neighbouring steps share one."""

Point = tuple[float, float]


def draw_gains(gains: Sequence[float]) -> "Markup | None":
    """Draw a bar for every test row, the worst first, upwards where the new model gained; nothing where no gain is known."""
    ordered = sorted(gain for gain in gains if isfinite(gain))
    low, high = min(0.0, *ordered, 0.0), max(0.0, *ordered, 0.0)
    if low == high:
        return None
    slot, room = WIDTH / len(ordered), HEIGHT - 2 * TOP
    zero = TOP + room * high / (high - low)
    bars = [_bar(place, gain, slot, zero, room / (high - low)) for place, gain in enumerate(ordered)]
    ground = f'<line class="ground" x1="0" y1="{zero:.1f}" x2="{WIDTH}" y2="{zero:.1f}"/>'
    return _svg("gains", "".join([*bars, ground]))


def draw_curves(train: Sequence[float], validation: Sequence[float]) -> "Markup | None":
    """Draw the loss on rows that are learnt, per step, and on the rehearsal rows, before and after each epoch."""
    steps = len(train)
    epochs = max(1, len(validation) - 1)
    learnt = _thinned([(step + 1.0, loss) for step, loss in enumerate(train) if isfinite(loss)])
    rehearsed = [(steps * epoch / epochs, loss) for epoch, loss in enumerate(validation) if isfinite(loss)]
    losses = [loss for _, loss in (*learnt, *rehearsed)]
    if not learnt or not rehearsed or min(losses) == max(losses):
        return None
    low, high = min(losses), max(losses)

    def place(point: Point) -> Point:
        across = LEFT + (WIDTH - LEFT - 8) * point[0] / steps
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (high - point[1]) / (high - low)

    lines = _line("learnt", map(place, learnt)) + _line("rehearsed", map(place, rehearsed))
    best = place(min(rehearsed, key=lambda point: point[1]))
    kept = f'<circle class="kept" cx="{best[0]:.1f}" cy="{best[1]:.1f}" r="5"/>'
    ticks = "".join(_tick(value, place((0.0, value))[1]) for value in _round_values(low, high))
    ends = f'<text class="end" x="{WIDTH - 8}" y="{HEIGHT - 6}">{steps:,}</text>'
    return _svg("curves", ticks + lines + kept + ends)


def _bar(place: int, gain: float, slot: float, zero: float, scale: float) -> str:
    height = max(abs(gain) * scale, 1.0)
    kind, top = ("ahead", zero - height) if gain > 0 else ("behind", zero)
    gap = min(2.0, slot / 4)
    box = f'x="{place * slot + gap / 2:.1f}" y="{top:.1f}" width="{slot - gap:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {box}/>'


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Return the means of neighbours where there are more points than can be seen."""
    every = -(-len(points) // POINTS) or 1
    parts = [points[start : start + every] for start in range(0, len(points), every)]
    return [(fmean(x for x, _ in part), fmean(y for _, y in part)) for part in parts]


def _line(kind: str, points: "Sequence[Point] | map[Point]") -> str:
    return f'<polyline class="{kind}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def _tick(value: float, y: float) -> str:
    return (
        f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - 8}" y2="{y:.1f}"/>'
        f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}">{value:g}</text>'
    )


def _round_values(low: float, high: float) -> list[float]:
    """Return two to five round values between two losses."""
    power = 10.0 ** floor(log10((high - low) / 2))
    step = next(size * power for size in (5, 2, 1, 0.5) if (high - low) / (size * power) >= 2)
    first = int(low // step) + 1
    return [round(count * step, 10) for count in range(first, int(high // step) + 1)]


def _svg(kind: str, inside: str) -> "Markup":
    from markupsafe import Markup

    return Markup(  # noqa: S704 - numbers only
        f'<svg class="{kind}" viewBox="0 0 {WIDTH} {HEIGHT}" aria-hidden="true" focusable="false">{inside}</svg>'
    )
