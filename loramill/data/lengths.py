"""How long questions and answers are, and which ones stand out."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

LISTED: Final = 5
"""Outliers named on each side."""
MIN_ROWS: Final = 8
"""Fewer values have no outliers."""


@dataclass(frozen=True)
class Lengths:
    """Lengths of one kind of text, in characters."""

    values: tuple[int, ...]
    middle: int
    low: int
    """One in twenty is shorter."""
    high: int
    """One in twenty is longer."""
    short: tuple[int, ...]
    """Places of the ones that are strangely short, the shortest first."""
    long: tuple[int, ...]
    """Places of the ones that are strangely long, the longest first."""


def measure(texts: Sequence[str]) -> Lengths | None:
    """Return the lengths of the texts, or nothing where there are none."""
    values = tuple(len(text) for text in texts)
    if not values:
        return None
    middle = round(median(values))
    if len(values) < MIN_ROWS:
        return Lengths(values, middle, min(values), max(values), (), ())
    low, high = (round(cut) for cut in (quantiles(values, n=20)[place] for place in (0, 18)))
    first, _, third = quantiles(values, n=4)
    far = 3 * max(third - first, middle / 4)  # Tukey's outer fence; rows of nearly one length have no strangers
    ordered = sorted(range(len(values)), key=lambda place: (values[place], place))
    short = [place for place in ordered[:LISTED] if values[place] < min(first - far / 2, middle / 3)]
    long = [place for place in ordered[: -LISTED - 1 : -1] if values[place] > third + far]
    return Lengths(values, middle, low, high, tuple(short), tuple(long))
