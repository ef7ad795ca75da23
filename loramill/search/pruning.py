"""Which trials have no chance, from the recorded losses alone.

At a rung (epochs 1, 2, 4, 8, …) a trial must be in the better half of itself and the trials with lower numbers that reached the
rung. Timing plays no part: where a lower number has not come so far yet, the trial goes on and is judged when it has.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Pruner = Literal["none", "halving", "hyperband"]
LEAST_RIVALS = 4
"""Trials that must have reached a rung, itself included, before one is pruned there."""


@dataclass(frozen=True)
class Curve:
    """How far a trial has come."""

    epochs: int
    losses: Mapping[int, float]
    """Validation loss by epoch, from 1."""
    ended: bool


@dataclass(frozen=True)
class Fate:
    """What became of a trial at its rungs."""

    fell: int | None
    """The rung at which it is pruned; none so far."""
    open: int | None
    """The first rung that cannot be judged yet; none if all are."""


def fates(pruner: Pruner, longest: int, trials: Sequence[Curve]) -> list[Fate]:
    """Judge the trials of a search.

    Args:
        pruner: the rule.
        longest: epochs that a trial of this search can have at most.
        trials: all trials so far, in order of their numbers.
    """
    brackets = 1 + int(math.log2(longest)) if pruner == "hyperband" else 1
    judged: list[Fate] = []
    for number, trial in enumerate(trials):
        first = (
            number % brackets
        )  # Hyperband's brackets take turns; each begins to prune twice as late as the one before
        rungs = [2**power for power in range(first, 12) if 2**power < trial.epochs and pruner != "none"]
        judged.append(_fate(trial, rungs, [(trials[i], judged[i]) for i in range(first, number, brackets)]))
    return judged


def _fate(trial: Curve, rungs: Sequence[int], lower: Sequence[tuple[Curve, Fate]]) -> Fate:
    for rung in rungs:
        if rung not in trial.losses:
            return Fate(None, None if trial.ended else rung)
        rivals = [_reached(rival, fate, rung) for rival, fate in lower]
        if any(loss is None for loss in rivals):
            return Fate(None, rung)
        own = _best(trial, rung)
        losses = sorted([loss for loss in rivals if loss is not None and loss != math.inf] + [own])
        if len(losses) >= LEAST_RIVALS and own > losses[(len(losses) - 1) // 2]:
            return Fate(rung, None)
    return Fate(None, None)


def _reached(rival: Curve, fate: Fate, rung: int) -> float | None:
    """Return the rival's loss at a rung: infinite if it never gets there, none if that is not known yet."""
    if fate.fell is not None and fate.fell < rung:
        return math.inf
    if fate.open is not None and fate.open < rung:
        return None
    if rung in rival.losses:
        return _best(rival, rung)
    return math.inf if rival.ended or rung > rival.epochs else None


def _best(trial: Curve, rung: int) -> float:
    seen = [loss for epoch, loss in trial.losses.items() if 1 <= epoch <= rung and not math.isnan(loss)]
    return min(seen, default=math.inf)
