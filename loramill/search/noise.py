"""What a difference between two losses is worth on few rows: noise, the optimism of a winner, the gain to be expected."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Losses = NDArray[np.float64]
"""Summed loss of each validation row (nats)."""
CERTAINTY = 0.95
"""Of the statement that ranks differ."""
RESAMPLINGS = 400


@dataclass(frozen=True)
class Judges:
    """The validation rows, in the order in which all losses come."""

    targets: NDArray[np.int64]
    """Target tokens of each row."""
    groups: NDArray[np.int64]
    """Rows of one group are near-duplicates: one observation, not several."""

    def loss(self, losses: Losses) -> float:
        """Return the loss per target token."""
        return float(losses.sum() / self.targets.sum())

    @property
    def observations(self) -> int:
        """How many there are."""
        return len(np.unique(self.groups))


@dataclass(frozen=True)
class Difference:
    """Two settings on the same rows; nats per token."""

    mean: float
    error: float
    """Standard error; infinite where one observation is all there is."""


def difference(one: Losses, other: Losses, judges: Judges) -> Difference:
    """Return by how much ``one`` is worse, paired by row: what makes a row hard for both drops out."""
    mean = judges.loss(one - other)
    if judges.observations < 2:
        return Difference(mean, math.inf)
    strays = np.bincount(judges.groups, one - other - mean * judges.targets)
    strays = strays[np.unique(judges.groups)]
    error = math.sqrt(len(strays)) * strays.std(ddof=1) / judges.targets.sum()
    return Difference(mean, float(error))


def optimism(losses: Sequence[Losses], judges: Judges, seed: int) -> float:
    """Return by how much the best of several looks better than it is, because the same rows chose and judge it.

    The rows are drawn again with replacement; each time the winner on those drawn is measured on all of them (Efron, 1983).
    """
    names, group = np.unique(judges.groups, return_inverse=True)
    sums = np.stack([np.bincount(group, row) for row in losses])
    counts = np.bincount(group, judges.targets)
    whole = sums.sum(1) / counts.sum()
    draw = np.random.default_rng(seed)
    gaps: list[float] = []
    for _ in range(RESAMPLINGS):
        times = np.bincount(draw.integers(len(names), size=len(names)), minlength=len(names))
        drawn = sums @ times / (counts @ times)
        winner = int(np.argmin(drawn))
        hardness = drawn.mean() - whole.mean()  # how hard the rows drawn are for all
        gaps.append(float(whole[winner] - drawn[winner] + hardness))
    return max(0.0, float(np.mean(gaps)))


def expected_gain(values: Sequence[float], tried: int, more: int) -> float:
    """Return by how much ``more`` trials may be expected to beat the best of those ``tried``.

    Leaving one of n out costs (second - best) / n on average, so one more gains about as much; the spacing is taken over the
    best three, as a single one may be small by chance. A sampler that has learnt gains less from what it tries again.
    """
    best = sorted(values)[:3]
    if len(best) < 3:
        return math.inf
    return (best[2] - best[0]) / 2 * math.log((tried + more) / tried)


def seed_error(losses: NDArray[np.float64]) -> float:
    """Return the standard error that seeds give a difference of two settings, each a mean over all seeds.

    Args:
        losses: (settings, seeds). What a seed does to all settings drops out.
    """
    settings, seeds = losses.shape
    if settings < 2 or seeds < 2:
        return 0.0
    strays = losses - losses.mean(0) - losses.mean(1, keepdims=True) + losses.mean()
    variance = (strays**2).sum() / ((settings - 1) * (seeds - 1))
    return math.sqrt(2 * variance / seeds)


def threshold(settings: int, observations: int) -> float:
    """Return how many standard errors apart the best and another of ``settings`` must be to differ, whichever pair it is."""
    from scipy.special import stdtrit

    pairs = max(1, settings * (settings - 1) / 2)
    return float(stdtrit(max(1, observations - 1), 1 - (1 - CERTAINTY) / 2 / pairs))


def rank_matters(ranks: Sequence[int], others: NDArray[np.float64], losses: Sequence[float]) -> float | None:
    """Return the chance that losses differ so much between ranks if rank did nothing, beside all else that was varied.

    An F-test on ordered losses (Conover and Iman, 1981), so that one that ran away does not decide.

    Args:
        ranks: of each trial.
        others: (trials, 1 + n) what else differs, with a column of ones.
        losses: of each trial.

    Returns:
        The p-value; none where the trials are too few to tell.
    """
    from scipy.special import fdtrc  # scipy.stats takes two seconds to import

    kinds = sorted(set(ranks))
    flags = np.array([[float(rank == kind) for kind in kinds[1:]] for rank in ranks]).reshape(len(ranks), -1)
    full = np.hstack([others, flags])
    freedom = len(losses) - int(np.linalg.matrix_rank(full))
    extra = int(np.linalg.matrix_rank(full) - np.linalg.matrix_rank(others))
    if freedom < 1 or extra < 1:
        return None
    ordered = np.unique(losses, return_inverse=True)[1].astype(np.float64)
    without, with_ranks = (_left(part, ordered) for part in (others, full))
    if with_ranks < 1e-9 * without or without == 0:
        return 0.0 if without > 0 else 1.0
    return float(fdtrc(extra, freedom, (without - with_ranks) / extra / (with_ranks / freedom)))


def _left(columns: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    found, *_ = np.linalg.lstsq(columns, values, rcond=None)
    return float(((values - columns @ found) ** 2).sum())
