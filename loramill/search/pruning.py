"""Which trials have no chance, from the recorded losses alone: successive halving in cohorts.

A trial is checked eight times, at equal distances. At a rung (checks 1, 2 and 4) it pauses until all trials of its cohort have
come so far or fallen; it goes on if it is in the best third of those that came to the rung, its cohort's and all before. A
cohort is a block of numbers, so that neither timing nor the size of a pack plays a part.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Pruner = Literal["none", "halving", "hyperband"]
CHECKS = 8
"""Validations of a trial. Trials are compared at the same place of their schedules."""
RUNGS = (1, 2, 4)
"""Checks at which trials are pruned."""
REDUCTION = 3
"""One of so many goes on ..."""
LEAST = 2
"""... and so many at least: a single one could not be compared with anything."""


@dataclass(frozen=True)
class Curve:
    """How far a trial has come."""

    losses: Mapping[int, float]
    """Validation loss by check, from 1."""
    ended: bool = False
    pruned: bool = False
    """Whether it is on record as pruned: that is never taken back, even if more trials are asked for later."""


@dataclass(frozen=True)
class Fate:
    """What becomes of a trial."""

    until: int | None = None
    """The rung at which it will pause; none if it may go on to the end."""
    waits: bool = False
    """Whether it has come to a rung that cannot be judged yet."""
    fell: bool = False
    """Whether it is pruned."""

    @property
    def is_open(self) -> bool:
        """Whether a later rung may still matter."""
        return self.until is None and not self.waits and not self.fell


def fates(pruner: Pruner, cohort: int, count: int, trials: Sequence[Curve]) -> list[Fate]:
    """Judge the trials of a search.

    Args:
        pruner: the rule. Hyperband's cohorts take turns; each begins to prune a rung later than the one before.
        cohort: trials that are compared with each other.
        count: trials that the search will have, as far as is known.
        trials: all trials so far, in order of their numbers.
    """
    judged = [Fate(fell=trial.pruned) for trial in trials]
    for rung in RUNGS if pruner != "none" else ():
        for start in range(0, len(trials), cohort):
            if pruner == "hyperband" and rung < RUNGS[start // cohort % len(RUNGS)]:
                continue
            whole = len(trials) >= min(start + cohort, count)
            upto = min(start + cohort, len(trials))
            cut = _cut([_standing(trials[i], judged[i], rung) for i in range(upto)]) if whole else None
            for number in range(start, upto):
                if judged[number].is_open and not trials[number].ended:
                    judged[number] = _fate(trials[number], rung, cut)
    return judged


def _fate(trial: Curve, rung: int, cut: float | None) -> Fate:
    if rung not in trial.losses:
        return Fate(until=rung)
    if cut is None:
        return Fate(waits=True)
    return Fate(fell=_best(trial, rung) > cut)


def _cut(standings: Sequence[float | None]) -> float | None:
    """Return the loss up to which trials go on; none while somebody is awaited."""
    if None in standings:
        return None
    losses = sorted(loss for loss in standings if loss is not None and loss != math.inf)
    last = max(math.ceil(len(losses) / REDUCTION), LEAST)
    return losses[min(last, len(losses)) - 1] if losses else math.inf


def _standing(trial: Curve, fate: Fate, rung: int) -> float | None:
    """Return a trial's loss at a rung: infinite if it never gets there, none if that is not known yet."""
    if rung in trial.losses:
        return _best(trial, rung)
    return math.inf if trial.ended or fate.fell else None


def _best(trial: Curve, rung: int) -> float:
    return min(loss for check, loss in trial.losses.items() if 1 <= check <= rung)
