"""Better, worse, or not proven: a paired test on the same rows that is valid for ten of them.

If two models differ by chance only, each row's difference was as likely to be seen with the other sign. So the test flips
signs: it needs no normal distribution and no many rows, and its error is bounded for every number of rows, not only in the
limit; where patterns tie, and count half, it is bounded on average over the ties. The same patterns give the interval: one of
them has a higher mean than the one seen exactly when the rows that it flips have a mean below 0, so each mean of flipped rows
is a gain at which the test changes its mind. docs/verdict.md has the argument and the figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Outcome = Literal["better", "worse", "not proven"]
Losses = NDArray[np.float64]
Paired = Mapping[str, Mapping[str, Sequence[float]]]
"""Measure -> member -> one number per test row, higher is better."""

PRIMARY: Final = "loss"
"""The measure that was named before anything was scored: it decides, and is not corrected for the others."""
BETTER_SHARE: Final = 0.75
"""Share of the significance that a false "better" may take."""
WORSE_SHARE: Final = 0.15
"""Share that a false "worse" may take. A tenth stays unspent: real differences are only nearly symmetric."""
FREE_SIGNS: Final = 12
"""Rows whose signs are flipped independently; up to so many rows all patterns are tried."""
CHUNK: Final = 1024
"""Rows whose flips are in memory at once: 4,095 patterns of so many take 34 MB as floats, whatever the number of rows."""
POWER: Final = 0.8
"""Share of repetitions in which the smallest detectable gain would be proven."""


@dataclass(frozen=True)
class Verdict:
    """What the test rows prove about a challenger against a reference."""

    outcome: Outcome
    rows: int
    gain: float
    """Mean gain per row, in the measure's unit (for the loss: nats per token); above 0 the challenger is better."""
    low: float
    """Lower end of the gain's interval, which leaves 0 out exactly when a difference is proven."""
    high: float
    """Upper end."""
    p_value: float
    """Chance of a difference at least so large in the direction seen, if there is none."""
    p_better: float
    """Chance of a gain at least so large; corrected where several measures were compared."""
    p_worse: float
    """Chance of a drop at least so large; corrected where several measures were compared."""
    detectable: float
    """Smallest gain that as many rows with this spread would show four times in five."""


def compare(challenger: Losses, reference: Losses, significance: float) -> Verdict:
    """Compare two models by their losses on the same rows, in the same order.

    A loss that is no number is worse than any number; where only the reference has such a loss, nothing is proven.

    Args:
        challenger: one loss per row, shape (rows,).
        reference: one loss per row, shape (rows,).
        significance: chance of calling a difference that is none.

    Raises:
        ValueError: the losses are not of the same rows.
    """
    if challenger.shape != reference.shape or challenger.ndim != 1 or len(challenger) == 0:
        raise ValueError(f"losses of the same rows are needed, got shapes {challenger.shape} and {reference.shape}")
    if not (np.isfinite(challenger).all() and np.isfinite(reference).all()):
        return _broken(challenger, reference)
    gains = reference - challenger
    p_better, p_worse = (float(p_value) for p_value in p_values(gains))
    low, high = _interval(gains, significance)
    return Verdict(
        outcome=_outcome(p_better, p_worse, significance),
        rows=len(gains),
        gain=float(gains.mean()),
        low=low,
        high=high,
        p_value=min(p_better, p_worse),
        p_better=p_better,
        p_worse=p_worse,
        detectable=_detectable(gains, significance),
    )


def compare_measures(paired: Paired, significance: float) -> dict[str, dict[str, Verdict]]:
    """Compare the challenger with every other member by every measure.

    `PRIMARY` stands for itself. The others share the significance: their p-values are Holm's, and so is the outcome; gain
    and interval are each measure's own.

    Returns:
        Reference -> measure -> verdict.

    Raises:
        ValueError: the numbers of two members are not of the same rows.
    """
    found: dict[str, dict[str, Verdict]] = {}
    for measure, members in paired.items():
        scores = {name: np.asarray(values, float) for name, values in members.items()}
        for reference in [name for name in scores if name != "challenger" and "challenger" in scores]:
            # of scores, higher is better; of losses, lower
            verdict = compare(-scores["challenger"], -scores[reference], significance)
            found.setdefault(reference, {})[measure] = verdict
    return {reference: _corrected(verdicts, significance) for reference, verdicts in found.items()}


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Return Holm's corrected p-values: calling those up to a level keeps the chance of any false call below it."""
    corrected: dict[str, float] = {}
    least = 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        least = max(least, min(1.0, p_values[name] * (len(p_values) - place)))
        corrected[name] = least
    return corrected


def p_values(gains: Losses) -> tuple[Losses, Losses]:
    """Return the chances of a mean at least as high, and at least as low, as the one seen, if signs are a matter of chance.

    Patterns with exactly the mean seen count half (mid-p): scores with ties, grades or passes, would else hide real gains.

    Args:
        gains: shape (rows,), or (comparisons, rows) for many comparisons at once.

    Returns:
        Two arrays of shape () or (comparisons,).
    """
    flipped = _flipped_means(gains)
    patterns = len(flipped) + 1
    seen = 1 + (flipped == 0).sum(axis=0) / 2  # the pattern that was seen flips nothing and counts whole, for both
    return (seen + (flipped < 0).sum(axis=0)) / patterns, (seen + (flipped > 0).sum(axis=0)) / patterns


def _outcome(p_better: float, p_worse: float, significance: float) -> Outcome:
    if p_better <= BETTER_SHARE * significance:
        return "better"
    return "worse" if p_worse <= WORSE_SHARE * significance else "not proven"


def _corrected(verdicts: Mapping[str, Verdict], significance: float) -> dict[str, Verdict]:
    """Give every measure but the primary one Holm's p-values, and the outcome that follows from them."""
    others = {measure: verdict for measure, verdict in verdicts.items() if measure != PRIMARY}
    better = holm({measure: verdict.p_better for measure, verdict in others.items()})
    worse = holm({measure: verdict.p_worse for measure, verdict in others.items()})
    changed = {
        measure: replace(
            verdict,
            outcome=_outcome(better[measure], worse[measure], significance),
            p_value=min(better[measure], worse[measure]),
            p_better=better[measure],
            p_worse=worse[measure],
        )
        for measure, verdict in others.items()
    }
    return {**verdicts, **changed}


def _broken(challenger: Losses, reference: Losses) -> Verdict:
    """A challenger with losses that are no numbers is worse than one without; more is not to be said of such rows."""
    is_worse = not np.isfinite(challenger).all() and bool(np.isfinite(reference).all())
    infinite = float("inf")
    return Verdict(
        outcome="worse" if is_worse else "not proven",
        rows=len(challenger),
        gain=-infinite if is_worse else 0.0,
        low=-infinite,
        high=-infinite if is_worse else infinite,
        p_value=0.0 if is_worse else 1.0,
        p_better=1.0,
        p_worse=0.0 if is_worse else 1.0,
        detectable=infinite,
    )


def _flipped_means(gains: Losses) -> Losses:
    """Return, for each sign pattern but the one seen, the mean over the rows that it flips; (patterns,) + comparisons.

    A mean that rounding alone keeps from 0 is 0: rows that tie must not be counted for one side.
    """
    rows = gains.shape[-1]
    sums, counts = np.zeros(()), np.zeros((), int)
    for start in range(0, rows, CHUNK):
        flips = _flips(rows, start)
        sums = sums + flips.astype(float) @ gains[..., start : start + CHUNK].T
        counts = counts + flips.sum(axis=1)
    means: Losses = sums / counts.reshape(-1, *[1] * (gains.ndim - 1))
    means[np.abs(means) <= 1e-12 * np.abs(gains).max(axis=-1)] = 0.0
    return means


@lru_cache(maxsize=8)
def _flips(rows: int, start: int) -> NDArray[np.int8]:
    """Return which rows each sign pattern flips, as 0 and 1, shape (patterns, `CHUNK` rows from ``start`` on, or fewer).

    The pattern that flips none is left out. With it they are a group, which makes the test exact whatever the differences
    are like, if no patterns tie. Up to `FREE_SIGNS` rows the group holds all patterns. Above, the signs of further rows follow
    from those of the free ones: each is flipped with an odd number of them, so that one pattern flips all. Up to 2,048 rows
    each has an odd set of its own, and any three rows flip independently; above, some rows share one and always flip together:
    the group is as exact, and the test somewhat less sharp.
    """
    free = min(rows, FREE_SIGNS)
    patterns = np.array(list(product((0, 1), repeat=free)), np.int8)
    words = np.eye(free, dtype=np.int8)
    if rows > free:
        bits = patterns.sum(axis=1)
        odd = patterns[(bits % 2 == 1) & (bits > 1)]
        chosen = np.random.default_rng(rows).choice(len(odd), rows - free, replace=rows - free > len(odd))
        words = np.vstack([words, odd[chosen]])
    return patterns[1:] @ words[start : start + CHUNK].T % 2


def _interval(gains: Losses, significance: float) -> tuple[float, float]:
    """Return the ends beyond which a true gain would be rejected: order statistics of the flipped rows' means."""
    means = np.sort(_flipped_means(gains))
    below, above = (int(share * significance * (len(means) + 1)) for share in (BETTER_SHARE, WORSE_SHARE))
    low = float(means[below - 1]) if below else -float("inf")  # too few rows for any pattern to be rare enough
    return low, float(means[-above]) if above else float("inf")


def _detectable(gains: Losses, significance: float) -> float:
    """Return the gain for which Student's test at the same level has `POWER`: the closed form nearest to this test."""
    from scipy.special import nctdtrinc, stdtrit

    rows, level = len(gains), BETTER_SHARE * significance
    if rows < 2 or 2.0**-rows > level:
        return float("inf")
    error = float(gains.std(ddof=1)) / float(np.sqrt(rows))
    return float(nctdtrinc(rows - 1, 1 - POWER, stdtrit(rows - 1, 1 - level))) * error
