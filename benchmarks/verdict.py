"""How often the verdict is right: two adapters that differ by chance only, and a real gain of three standard errors.

``python -m benchmarks.verdict`` prints a line for each kind of scores and number of rows, then one JSON object. Two adapters
answer the same rows: a row is as hard for both, and each adds noise of its own. If they differ by nothing but chance, their
scores on a row could be exchanged, so that the difference is symmetric, however skewed the scores. What leaves this
frame, differences that are themselves skewed and scores of pass or fail, is measured too and shown apart.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loramill.evaluation.verdict import BETTER_SHARE, WORSE_SHARE, p_values

COMPARISONS = 1_000
LONG_RUN = 10_000
ROWS = (10, 20, 40, 60)
SIGNIFICANCE = 0.05
GAIN = 3.0
"""Standard errors of the mean difference."""
HARDNESS = 3.0
"""Spread of how hard rows are, in units of the noise."""
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Kind:
    """A kind of scores: the noise that an adapter adds to a row, and how the sum is marked."""

    noise: Callable[[np.random.Generator, tuple[int, int]], Values]
    mark: Callable[[Values], Values] = lambda scores: scores


KINDS = {
    "normal": Kind(lambda draw, shape: draw.normal(size=shape)),
    "skewed": Kind(lambda draw, shape: draw.exponential(size=shape)),
    "heavy-tailed": Kind(lambda draw, shape: draw.standard_t(3, size=shape)),
    "tied": Kind(lambda draw, shape: draw.normal(size=shape), np.round),
}
"""What the promise is about."""
PASS_OR_FAIL = Kind(lambda draw, shape: draw.normal(size=shape), lambda scores: (scores > 0).astype(float))


def differences(kind: Kind, draw: np.random.Generator, shape: tuple[int, int], gain: float = 0.0) -> Values:
    """Return challenger minus reference for each comparison and row."""
    hard = HARDNESS * draw.normal(size=shape)
    challenger, reference = (kind.mark(hard + kind.noise(draw, shape) + more) for more in (gain, 0.0))
    return challenger - reference


def real_gain(kind: Kind, rows: int) -> float:
    """Return what to add to the challenger so that the mean difference of so many rows is `GAIN` standard errors."""
    low, high = 0.0, 20.0
    for _ in range(30):
        middle = (low + high) / 2
        seen = differences(kind, np.random.default_rng(0), (100, 1000), middle)
        enough = seen.mean() >= GAIN * seen.std() / rows**0.5
        low, high = (low, middle) if enough else (middle, high)
    return high


def outcomes(gains: Values) -> tuple[float, float]:
    """Return the shares of comparisons called better, and called worse."""
    better = worse = 0
    for some in np.array_split(gains, max(1, len(gains) // 500)):  # a few at a time: memory stays small
        p_better, p_worse = p_values(some)
        is_better = p_better <= BETTER_SHARE * SIGNIFICANCE
        better += int(is_better.sum())
        worse += int((~is_better & (p_worse <= WORSE_SHARE * SIGNIFICANCE)).sum())
    return better / len(gains), worse / len(gains)


def measure(kind: Kind, rows: int, comparisons: int, seed: int) -> tuple[float, float]:
    """Return how often chance comes out as not proven, and a real gain as better."""
    draw = np.random.default_rng([seed, rows])
    by_chance = sum(outcomes(differences(kind, draw, (comparisons, rows))))
    return 1.0 - by_chance, outcomes(differences(kind, draw, (comparisons, rows), real_gain(kind, rows)))[0]


def skewed_differences(rows: int, comparisons: int) -> dict[str, float]:
    """Return how often differences of mean 0 that are skewed themselves come out as not proven.

    ``few lose much`` has many small gains and a few large losses; the other is its mirror.
    """
    draws = np.random.default_rng([3, rows]).exponential(size=(comparisons, rows)) - 1.0
    return {"few gain much": 1.0 - sum(outcomes(draws)), "few lose much": 1.0 - sum(outcomes(-draws))}


def beyond() -> Iterator[tuple[str, int, float, float | None]]:
    """Measure what the promise is not about."""
    for rows in ROWS:
        yield ("pass or fail", rows, *measure(PASS_OR_FAIL, rows, LONG_RUN, 2))
        for name, share in skewed_differences(rows, LONG_RUN).items():
            yield name, rows, share, None


def line(name: str, rows: int, *shares: float | None) -> None:
    """Print one row of the table."""
    print(
        f"  {name:<14} {rows:>4}  " + "  ".join(f"{share:>8.1%}" for share in shares if share is not None), flush=True
    )


def main() -> None:
    """Measure and print."""
    asked: list[tuple[float, float]] = []
    long_run: list[tuple[float, float]] = []
    print(f"  scores         rows  {COMPARISONS:>8,} comparisons   {LONG_RUN:>8,} comparisons")
    print("                       chance →  3 SE →    chance →  3 SE →")
    print("                       unproven  better    unproven  better")
    for name, kind in KINDS.items():
        for rows in ROWS:
            asked.append(measure(kind, rows, COMPARISONS, 1))
            long_run.append(measure(kind, rows, LONG_RUN, 2))
            line(name, rows, *asked[-1], *long_run[-1])
    print("outside the promise, in the long run:")
    for name, rows, *shares in beyond():
        line(name, rows, *shares)
    worst = [min(column) for shares in (asked, long_run) for column in zip(*shares, strict=True)]
    names = ("null_not_proven", "gain_detected", "null_not_proven_long_run", "gain_detected_long_run")
    print(json.dumps({name: round(value, 4) for name, value in zip(names, worst, strict=True)}))


if __name__ == "__main__":
    main()
