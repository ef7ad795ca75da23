"""What was found, and what may be said about it: the smaller model unless a larger one is better by more than the noise."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from loramill.config import Settings
from loramill.errors import TrainingError
from loramill.search.noise import Judges, Losses, difference, optimism, rank_matters, seed_error, threshold
from loramill.search.study import Entry


@dataclass(frozen=True)
class Found:
    """The end of a search."""

    settings: Settings
    trial: int
    """The trial that the settings come from; with repeats, the leader that was trained again."""
    loss: float
    """Validation loss of these settings (nats per token); with repeats, the mean over fresh seeds."""
    corrected: float
    """What that loss would be on rows that did not choose the settings."""
    noise: float
    """Differences up to this are within the noise (nats per token)."""
    said: str
    """What the trials say about rank, for a person."""


@dataclass(frozen=True)
class Candidate:
    """Settings that may win, with their losses on the validation rows."""

    settings: Settings
    trial: int
    losses: Losses
    """(rows,) summed loss of each; with repeats, the mean over seeds."""
    by_seed: tuple[float, ...] = ()
    """Loss with each fresh seed (nats per token)."""
    is_leader: bool = False
    """Whether these are the leader's settings, at one of the ranks."""


def completed(entries: Sequence[Entry]) -> list[Entry]:
    """Return the trials that may win, best first.

    Raises:
        TrainingError: there is none.
    """
    good = [entry for entry in entries if entry.state == "complete" and entry.value is not None]
    if not good:
        states = ", ".join(entry.state or "under way" for entry in entries) or "none was tried"
        raise TrainingError(
            f"the search found nothing that learns ({states}); lower search.learning_rate.high and try again"
        )
    return sorted(good, key=lambda entry: (entry.value, entry.number))


def losses_of(entry: Entry) -> Losses:
    """Return a trial's loss on every validation row, fold by fold."""
    return np.array([loss for _, member in sorted(entry.members.items()) for loss in member.rows])


def from_trials(entries: Sequence[Entry], judges: Judges, batch: int, seed: int) -> Found:
    """Decide from single runs: the smallest rank within one standard error of the best trial."""
    pool = [Candidate(entry.settings, entry.number, losses_of(entry)) for entry in completed(entries)]
    if any(len(one.losses) != len(judges.targets) for one in pool):
        return _unmeasured(completed(entries)[0])
    best = min(pool, key=lambda one: judges.loss(one.losses))
    gaps = {one.trial: difference(one.losses, best.losses, judges) for one in pool}
    near = [one for one in pool if gaps[one.trial].mean <= gaps[one.trial].error]
    chosen = _smallest(near or [best], judges)
    errors = [gap.error for trial, gap in gaps.items() if trial != best.trial and math.isfinite(gap.error)]
    noise = float(np.median(errors)) if errors else 0.0
    return _found(chosen, pool, judges, seed, noise, _said_of_trials(entries, chosen, batch))


def _unmeasured(best: Entry) -> Found:
    assert best.value is not None
    said = "no row was measured on its own, so nothing is known of the noise: taking the best trial"
    return Found(best.settings, best.number, best.value, best.value, 0.0, said)


def from_repeats(pool: Sequence[Candidate], judges: Judges, seed: int) -> Found:
    """Decide from fresh seeds: the smallest rank that is not proven worse than the best finalist."""
    best = min(pool, key=lambda one: judges.loss(one.losses))
    seeds = seed_error(np.array([one.by_seed for one in pool]))
    times = threshold(len(pool), judges.observations)
    floors = {
        one.settings: times * math.hypot(difference(one.losses, best.losses, judges).error, seeds) for one in pool
    }
    level = [one for one in pool if judges.loss(one.losses - best.losses) <= floors[one.settings]]
    chosen = _smallest(level, judges)
    ladder = sorted(one.settings.rank for one in pool if one.is_leader)
    same = sorted(one.settings.rank for one in level if one.is_leader)
    noise = max((floor for floor in floors.values() if math.isfinite(floor)), default=0.0)
    return _found(chosen, pool, judges, seed, noise, _said_of_ladder(ladder, same, chosen.settings.rank))


def _smallest(pool: Sequence[Candidate], judges: Judges) -> Candidate:
    return min(pool, key=lambda one: (one.settings.rank, judges.loss(one.losses), one.trial))


def _found(chosen: Candidate, pool: Sequence[Candidate], judges: Judges, seed: int, noise: float, said: str) -> Found:
    loss = judges.loss(chosen.losses)
    corrected = loss + optimism([one.losses for one in pool], judges, seed)
    return Found(chosen.settings, chosen.trial, loss, corrected, noise, said)


def _said_of_trials(entries: Sequence[Entry], chosen: Candidate, batch: int) -> str:
    check = _common_check(entries)
    seen = [entry for entry in entries if math.isfinite(entry.losses.get(check, math.nan))]
    ranks = sorted({entry.settings.rank for entry in seen})
    taken = f"taking {chosen.settings.rank}"
    if len(ranks) < 2:
        return taken.replace("taking", "rank was not searched: taking")
    chance = rank_matters([e.settings.rank for e in seen], _others(seen, batch), [e.losses[check] for e in seen])
    if chance is None:
        return f"{len(seen)} trials are too few to tell {_span(ranks)} apart: {taken}"
    if chance < 0.05:
        return f"rank makes a difference here (p = {chance:.2g}): {taken}"
    why = "" if chosen.settings.rank == ranks[0] else ", the smallest that was tried beside a rate as good as the best"
    return f"{_span(ranks)} are indistinguishable here: {taken}{why}"


def _common_check(entries: Sequence[Entry]) -> int:
    """Return the last check that as many trials came to as to any: the first, where trials are pruned."""
    came = Counter(check for entry in entries for check, loss in entry.losses.items() if math.isfinite(loss))
    return max(came, key=lambda check: (came[check], check), default=1)


def _others(entries: Sequence[Entry], batch: int) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Return what a loss depends on besides rank: the rate (curved) and alpha; (trials, 1 + n)."""
    rate = np.log([entry.settings.learning_rate * math.sqrt(entry.settings.rank / batch) for entry in entries])
    rate = rate - rate.mean()
    alpha = np.log([entry.settings.alpha_ratio for entry in entries])
    columns = [np.ones(len(entries)), rate, rate**2, alpha - alpha.mean()]
    return np.stack(columns, axis=1)


def _said_of_ladder(ladder: Sequence[int], same: Sequence[int], rank: int) -> str:
    if len(ladder) < 2:
        return f"rank was not searched: taking {rank}"
    if not same:
        return f"the runner-up is better than the leader at every rank: taking its rank, {rank}"
    worse = [other for other in ladder if other not in same]
    if not worse:
        return f"{_span(ladder)} are indistinguishable here: taking {rank}"
    behind = f"{_span(worse)} {'is' if len(worse) == 1 else 'are'} worse by more than the noise"
    if len(same) == 1:
        return f"{behind}: taking {rank}"
    return f"{_span(same)} are indistinguishable here, {behind}: taking {rank}"


def _span(ranks: Sequence[int]) -> str:
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    return f"ranks {ranks[0]} to {ranks[-1]}" if len(ranks) > 2 else f"ranks {ranks[0]} and {ranks[1]}"
