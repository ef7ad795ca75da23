"""A round of trials: what comes next, what each check and each end means. It knows no model and no training.

Whoever trains asks for `Round.next`, tells `Round.check` and `Round.end`, and may be killed between any two of these.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from loramill.config import Settings
from loramill.search.claims import Claim
from loramill.search.proposals import Proposal
from loramill.search.pruning import Curve, Fate, Pruner, fates
from loramill.search.study import Entry, Member, Record, pooled

FAILED = frozenset({"diverged", "failed"})
"""Statuses of a member that make its trial fail."""
PATIENCE = 40
"""Looks at the record, 50 ms apart, while another worker writes down the trial that it has just claimed."""


@dataclass(frozen=True)
class Job:
    """One training: a trial, or one fold of it."""

    trial: int
    fold: int
    settings: Settings
    seed: int
    label: str = "trial"
    until: int | None = None
    """The check after which it pauses; none goes on to the end."""

    @property
    def name(self) -> str:
        """The name of its member in the pack."""
        return f"{self.label}{self.trial}" if self.fold == 0 else f"{self.label}{self.trial}-fold{self.fold}"


class Source(Protocol):
    """Where a round's trials come from; both answers follow from what is on record, never from when it came there."""

    def count(self, entries: Sequence[Entry]) -> int:
        """Return how many trials the round has, as far as is known."""
        ...

    def proposal(self, number: int, entries: Sequence[Entry]) -> tuple[Proposal, int] | None:
        """Return a trial's proposal and seed; none while that cannot be known."""
        ...


@dataclass(frozen=True)
class Rules:
    """What all trials of a round have in common."""

    folds: int = 1
    pruner: Pruner = "none"
    cohort: int = 1
    """Trials that the pruner compares with each other."""
    label: str = "trial"
    deadline: float = math.inf
    """Seconds since the search began after which nothing new begins."""


@dataclass(frozen=True)
class _State:
    """The record at one moment, and what follows from it."""

    entries: list[Entry]
    fates: list[Fate]
    count: int
    """Trials that the round has, as far as is known."""


class Round:
    """One worker's view of a round."""

    def __init__(self, record: Record, source: Source, rules: Rules) -> None:
        self.record, self._source, self.rules = record, source, rules
        self._out: set[str] = set()
        self._earlier, self._began = record.spent(), time.monotonic()

    def next(self) -> Job | None:
        """Return a training that is due: one of one's own trials or of the dead, then a new trial."""
        for _ in range(PATIENCE):
            state, claims = self._state(), self.record.claims.all()
            for entry, fate in zip(state.entries, state.fates, strict=True):
                if entry.state is None and (job := self._due(entry, fate, claims.get(entry.number))) is not None:
                    return job
            number = len(state.entries)
            if number >= state.count or (found := self._source.proposal(number, state.entries)) is None:
                return None
            if not self._begin(number, *found, claims.get(number)):
                time.sleep(0.05)
        return None

    def take(self, places: int) -> list[Job]:
        """Return as many trainings that are due as there are places."""
        jobs: list[Job] = []
        while len(jobs) < places and (job := self.next()) is not None:
            jobs.append(job)
        return jobs

    def is_over(self) -> bool:
        """Tell whether every trial has ended, whoever trained it."""
        self.settle()
        state = self._state()
        return len(state.entries) >= state.count and all(entry.state for entry in state.entries)

    def alive(self) -> None:
        """Show other workers that this one lives."""
        self.record.claims.beat()

    def check(self, job: Job, check: int, loss: float) -> bool:
        """Write down a validation loss, unless it is known; tell whether the training has failed or is another worker's."""
        if not math.isfinite(loss) or not self._is_mine(job):
            return True
        own = self.entries()[job.trial]
        if job.fold == 0 and own.state is None and check not in own.losses and 0 not in own.members:
            self.record.report(job.trial, check, loss)
        return False

    def end(self, job: Job, member: Member | None, losses: Mapping[int, float] | None = None) -> list[Entry]:
        """Write down how a training ended, unless it is known; return the trials that this ended.

        Args:
            job: the training.
            member: its end; none if it has come to its rung and pauses.
            losses: its validation losses by check; one that was continued did not tell of those before.
        """
        self._out.discard(job.name)
        entries = self.entries()
        if unheard := [check for check in losses or {} if check not in entries[job.trial].losses]:
            for check in unheard:
                self.check(job, check, (losses or {})[check])
            entries = self.entries()
        own = entries[job.trial]
        if member is not None and own.state is None and job.fold not in own.members and self._is_mine(job):
            self.record.keep(job.trial, job.fold, member)
            entries[job.trial] = replace(own, members={**own.members, job.fold: member})
        if self.rules.deadline < math.inf:
            self.record.spent(self._seconds())
        return self.settle(entries)

    def settle(self, entries: list[Entry] | None = None) -> list[Entry]:
        """Write down the end of every trial that has one by now and is not being trained here; return those."""
        state = self._state(entries)
        told = []
        for entry, fate in zip(state.entries, state.fates, strict=True):
            is_out = self._job(entry, 0).name in self._out
            end = None if entry.state or is_out else _end(entry, fate, self.rules.folds)
            if end is not None and self.record.tell(entry.number, *end):
                told.append(replace(entry, state=end[0], value=end[1]))
        return told

    def entries(self) -> list[Entry]:
        """Return all trials, by number."""
        return self.record.entries()

    def _state(self, entries: list[Entry] | None = None) -> _State:
        entries = self.entries() if entries is None else entries
        count = self._source.count(entries)
        if entries and self._seconds() > self.rules.deadline:
            count = min(count, len(entries))
        judged = fates(self.rules.pruner, self.rules.cohort, count, [_curve(entry) for entry in entries])
        return _State(entries, judged, count)

    def _seconds(self) -> float:
        return self._earlier + time.monotonic() - self._began

    def _due(self, entry: Entry, fate: Fate, claim: Claim | None) -> Job | None:
        """Return a training of a trial that is due for this worker; the other folds wait until the first has ended."""
        first = entry.members.get(0)
        if first is None:
            jobs = [] if fate.waits or fate.fell else [self._job(entry, 0, fate.until)]
        else:
            jobs = [self._job(entry, fold) for fold in range(1, self.rules.folds) if first.status not in FAILED]
        due = [job for job in jobs if job.fold not in entry.members and job.name not in self._out]
        if not due or claim is None:
            return None
        claims = self.record.claims
        mine = claim.worker == claims.worker or (claims.is_dead(claim) and claims.take_over(claim))
        return self._given(due[0]) if mine else None

    def _job(self, entry: Entry, fold: int, until: int | None = None) -> Job:
        return Job(entry.number, fold, entry.settings, entry.seed, self.rules.label, until)

    def _begin(self, number: int, proposal: Proposal, seed: int, claim: Claim | None) -> bool:
        if claim is None:
            return self.record.begin(number, proposal, seed)
        return self.record.claims.is_dead(claim) and self.record.take_over(claim, proposal, seed)

    def _is_mine(self, job: Job) -> bool:
        claim = self.record.claims.all().get(job.trial)
        return claim is not None and claim.worker == self.record.claims.worker

    def _given(self, job: Job) -> Job:
        self._out.add(job.name)
        return job


def _curve(entry: Entry) -> Curve:
    losses = {check: loss for check, loss in entry.losses.items() if math.isfinite(loss)}
    return Curve(losses, 0 in entry.members or entry.state is not None, entry.state == "pruned")


def _end(entry: Entry, fate: Fate, folds: int) -> tuple[str, float | None] | None:
    """Return a trial's state and value, if it has ended."""
    if fate.fell:
        return "pruned", None
    if 0 not in entry.members:
        return None
    if any(member.status in FAILED for member in entry.members.values()):
        return "fail", None
    value = pooled(list(entry.members.values()))
    if len(entry.members) < folds:
        return None
    return ("complete", value) if value is not None and math.isfinite(value) else ("fail", None)
