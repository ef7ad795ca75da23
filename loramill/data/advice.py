"""Which rows to write next: what the page says at its top."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log
from statistics import NormalDist
from typing import Any, Final

DECISIVE: Final = 0.5
"""Gain, in standard deviations of the rows' differences, that a decisive test shows: better on about 7 rows of 10."""
SIGNIFICANCE: Final = 0.05
POWER: Final = 0.8
SMALL: Final = 0.55
"""A topic with fewer rows than this share of the average topic wants more."""
LIKELY: Final = 0.9
NAMED: Final = 6
"""Topics named in one piece of advice."""


@dataclass(frozen=True)
class Count:
    """How many rows of one topic each part holds."""

    name: str
    rows: Mapping[str, int]

    @property
    def total(self) -> int:
        """Rows in all parts."""
        return sum(self.rows.values())


@dataclass(frozen=True)
class Advice:
    """One thing to do; the page holds the words for its kind."""

    kind: str
    values: Mapping[str, Any]


def decisive_rows() -> int:
    """Return the test rows with which a paired test shows a gain of `DECISIVE` four times in five."""
    at = NormalDist().inv_cdf
    threshold = at(1 - SIGNIFICANCE / 2)
    return ceil(((threshold + at(POWER)) / DECISIVE) ** 2 + threshold**2 / 2)


def wins_shown(test_rows: int) -> float:
    """Return the share of test rows that a model must answer better for a test of this size to show it."""
    at = NormalDist().inv_cdf
    threshold = at(1 - SIGNIFICANCE / 2)
    if test_rows <= threshold**2 / 2 + 1:
        return 1.0
    return NormalDist().cdf((threshold + at(POWER)) / (test_rows - threshold**2 / 2) ** 0.5)


def advise_on_topics(topics: Sequence[Count], test_share: float) -> list[Advice]:
    """Return what to write so that each topic is learnt and judged."""
    named = [topic for topic in topics if topic.name]
    if not named:
        return []
    found: list[Advice] = []
    untested = [topic for topic in named if not topic.rows.get("test")]
    if untested and 0 < test_share < 1:
        more = ceil(log(1 - LIKELY) / log(1 - test_share))
        found.append(Advice("topics-untested", {**_named(untested), "more": more}))
    usual = round(sum(topic.total for topic in named) / len(named))
    small = [topic for topic in reversed(named) if topic.total < SMALL * usual]
    if small:
        found.append(Advice("topics-small", {**_named(small), "usual": usual}))
    return found


def advise_on_test(rows: int, test_rows: int) -> list[Advice]:
    """Return how many rows are missing for a decisive test."""
    needed = decisive_rows()
    if not rows or test_rows >= needed:
        return []
    share = test_rows / rows
    missing = needed - test_rows
    more = ceil(missing / share) if share else None
    return [Advice("test-small", {"test": test_rows, "needed": needed, "missing": missing, "more": more})]


def _named(topics: Sequence[Count]) -> dict[str, Any]:
    return {"topics": topics[:NAMED], "others": max(0, len(topics) - NAMED)}
