"""Better, worse, or not proven: a paired test on the same rows that is valid for ten of them.

The test flips the sign of each row's difference at random: if two models differ by chance only, each sign was as likely as
the other. It needs no normal distribution and no many rows. The interval holds every shift that the test would not reject.
"""

from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Outcome = Literal["better", "worse", "not proven"]
EXACT_UP_TO: Final = 12
"""Rows up to which all sign patterns are tried; above, `FLIPS` random ones."""
FLIPS: Final = 9999
Losses = NDArray[np.float64]


@dataclass(frozen=True)
class Verdict:
    """What the test rows prove about a challenger against a reference."""

    outcome: Outcome
    rows: int
    gain: float
    """Mean drop of the loss (nats per token); above 0 the challenger is better."""
    low: float
    """Lower end of the gain's interval."""
    high: float
    """Upper end."""
    p_value: float
    detectable: float
    """Smallest gain that as many rows with this spread would show four times in five."""


def compare(challenger: Losses, reference: Losses, significance: float) -> Verdict:
    """Compare two models by their losses on the same rows, in the same order.

    Args:
        challenger: one loss per row, shape (rows,).
        reference: one loss per row, shape (rows,).
        significance: chance of calling a difference that is none.

    Raises:
        ValueError: the losses are not of the same rows.
    """
    if challenger.shape != reference.shape or challenger.ndim != 1 or len(challenger) == 0:
        raise ValueError(f"losses of the same rows are needed, got shapes {challenger.shape} and {reference.shape}")
    gains = reference - challenger
    signs = _signs(len(gains))
    p_value = _p_value(gains, signs)
    low, high = _interval(gains, signs, significance)
    outcome: Outcome = "not proven"
    if p_value <= significance:
        outcome = "better" if gains.mean() > 0 else "worse"
    return Verdict(outcome, len(gains), float(gains.mean()), low, high, p_value, _detectable(gains, significance))


def _signs(rows: int) -> Losses:
    """Return sign patterns of shape (patterns, rows); the first is the one that was seen."""
    if rows <= EXACT_UP_TO:
        return np.array(list(product((1.0, -1.0), repeat=rows)))
    drawn = np.random.default_rng(rows).choice((1.0, -1.0), size=(FLIPS, rows))
    return np.vstack([np.ones(rows), drawn])


def _p_value(gains: Losses, signs: Losses) -> float:
    """Return the share of sign patterns whose mean is at least as far from 0 as the one seen (two-sided)."""
    seen = abs(gains.mean())
    means = np.abs(signs @ gains) / len(gains)
    return float((means >= seen * (1 - 1e-12)).mean())


def _interval(gains: Losses, signs: Losses, significance: float) -> tuple[float, float]:
    """Return the shifts between which the test does not reject, by bisection from the mean outwards."""
    centre = float(gains.mean())
    reach = float(np.abs(gains - centre).max()) * 2 + 1e-12

    if _p_value(gains - (centre + reach), signs) > significance:
        return -float("inf"), float("inf")  # too few rows for any pattern of signs to be rare enough

    def edge(direction: float) -> float:
        inside, outside = 0.0, reach
        for _ in range(30):
            middle = (inside + outside) / 2
            if _p_value(gains - (centre + direction * middle), signs) > significance:
                inside = middle
            else:
                outside = middle
        return centre + direction * inside

    return edge(-1.0), edge(1.0)


def _detectable(gains: Losses, significance: float) -> float:
    """Return (t for the significance + t for 80 % power) standard errors."""
    from scipy.stats import t

    if len(gains) < 2:
        return float("inf")
    freedom = len(gains) - 1
    error = float(gains.std(ddof=1)) / np.sqrt(len(gains))
    return float((t.ppf(1 - significance / 2, freedom) + t.ppf(0.8, freedom)) * error)
