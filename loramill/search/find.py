"""The search: a round of trials, a round of repeats, a decision. How a trial is trained is somebody else's business."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from loramill.search.noise import Judges, difference, expected_gain
from loramill.search.proposals import Proposal, Proposals, Result
from loramill.search.pruning import RUNGS
from loramill.search.rounds import Round, Rules
from loramill.search.space import Space
from loramill.search.study import Entry, Record
from loramill.search.verdict import Candidate, Found, completed, from_repeats, from_trials, losses_of

LEAST_TRIALS = 8
"""Trials, whole or pruned, before a search may stop because nothing is to be gained."""
SPACING = 3
"""Whole ones among them: from the distances between the best it is seen what another may gain."""
COHORT = 4
"""Trials that the pruner compares with each other, in lags."""


@dataclass(frozen=True)
class Search:
    """Everything that a search is made of but the training."""

    space: Space
    judges: Judges
    open: Callable[[str], Record]
    """Opens the record of a round by the round's name."""
    name: str


def find(search: Search, train: Callable[[Round], None]) -> tuple[Found, list[Entry]]:
    """Try settings until the budget is spent; return what was found and all trials.

    Args:
        search: space, rows and record.
        train: trains a round's trials until it is over; it may be killed at any moment and called again.

    Raises:
        TrainingError: nothing that was tried learns.
    """
    config = search.space.config
    explored = _round(search)
    train(explored)
    entries = explored.entries()
    leaders = completed(entries)
    decided = from_trials(entries, search.judges, search.space.learning.batch, config.seed)
    measured = len(losses_of(leaders[0])) == len(search.judges.targets)
    if not (config.repeats and measured) or explored.record.spent() > rules_of(search).deadline:
        return decided, entries
    finals = Finals(search.space, leaders)
    repeated = Round(
        search.open(f"{search.name}-finals-{config.repeats}"),
        finals,
        replace(rules_of(search), pruner="none", label="final"),
    )
    train(repeated)
    pool = finals.candidates(repeated.entries(), search.judges)
    return (from_repeats(pool, search.judges, config.seed) if pool else decided), entries


def _round(search: Search) -> Round:
    return Round(search.open(search.name), Exploration(search.space, search.judges), rules_of(search))


def rules_of(search: Search) -> Rules:
    """Return what all trials have in common."""
    config = search.space.config
    deadline = math.inf if config.minutes is None else 60 * config.minutes
    return Rules(config.folds, config.pruner, COHORT * config.lag, deadline=deadline)


class Exploration:
    """Trials that a sampler proposes, until nothing is to be gained any more."""

    def __init__(self, space: Space, judges: Judges) -> None:
        self._config, self._judges = space.config, judges
        self._proposals = Proposals(space)

    def count(self, entries: Sequence[Entry]) -> int:
        """Return how many trials there are: trial n is one if the trials so many numbers older leave something to gain."""
        count, distance = self._proposals.count, self._waits_for_ends
        for number in range(distance, min(count, len(entries) + 1)):
            known = entries[: number - distance + 1]
            if not all(entry.state for entry in known):
                break
            if self._is_enough(known, count - number):
                return number
        return count

    def proposal(self, number: int, entries: Sequence[Entry]) -> tuple[Proposal, int] | None:
        """Return a trial once all is known that its proposal and its existence rest on."""
        ends = entries[: max(0, number - self._waits_for_ends + 1)]
        known = [self._result(entry) for entry in entries[: max(0, number - self._config.lag + 1)]]
        if None in known or not all(entry.state for entry in ends):
            return None
        results = {place: result for place, result in enumerate(known) if result is not None}
        return self._proposals.of(number, results.__getitem__), self._config.seed

    @property
    def _waits_for_ends(self) -> int:
        """How many numbers older the trials are that must have ended.

        Those of a trial's own cohort may be waiting for it, and places should not wait for the last of the cohort before.
        """
        return self._config.lag * (1 if self._config.pruner == "none" else 2 * COHORT)

    def _result(self, entry: Entry) -> Result | None:
        """Return what a sampler may know of a trial: its end or, where trials are pruned, its first check if it came so far."""
        if self._config.pruner != "none" and RUNGS[0] in entry.losses:
            return Result("complete", entry.losses[RUNGS[0]])
        return Result(entry.state, entry.value) if entry.state else None

    def _is_enough(self, known: Sequence[Entry], more: int) -> bool:
        whole = [entry for entry in known if entry.state == "complete" and entry.value is not None]
        if len(known) < LEAST_TRIALS or len(whole) < SPACING or len(losses_of(whole[0])) != len(self._judges.targets):
            return False
        best, second = completed(whole)[:2]
        noise = difference(losses_of(second), losses_of(best), self._judges).error
        return expected_gain([entry.value for entry in whole if entry.value is not None], len(known), more) < noise


class Finals:
    """The leader with fresh seeds at every rank, and the runner-up: what single runs cannot tell apart."""

    def __init__(self, space: Space, leaders: Sequence[Entry]) -> None:
        leader = leaders[0]
        ladder = [space.at_rank(leader.settings, rank) for rank in space.ranks_of(leader.settings)]
        others = [(entry.settings, entry.number) for entry in leaders[1:] if entry.settings not in ladder]
        self._finalists = [*((settings, leader.number) for settings in ladder), *others[:1]]
        self._rungs = len(ladder)
        self._repeats, self._seed = space.config.repeats, space.config.seed

    def count(self, entries: Sequence[Entry]) -> int:
        """Return finalists times seeds."""
        return len(self._finalists) * self._repeats

    def proposal(self, number: int, entries: Sequence[Entry]) -> tuple[Proposal, int] | None:
        """Return one finalist with one fresh seed: none that any choice rests on."""
        repeat, place = divmod(number, len(self._finalists))
        return Proposal(self._finalists[place][0], {}, {}), self._seed + 1 + repeat

    def candidates(self, entries: Sequence[Entry], judges: Judges) -> list[Candidate]:
        """Return the finalists that ended with every seed."""
        found = []
        for place, (settings, trial) in enumerate(self._finalists):
            runs = [losses_of(entry) for entry in entries[place :: len(self._finalists)] if entry.state == "complete"]
            if len(runs) == self._repeats:
                by_seed = tuple(judges.loss(run) for run in runs)
                found.append(Candidate(settings, trial, np.mean(runs, axis=0), by_seed, place < self._rungs))
        return found
