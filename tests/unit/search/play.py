"""A pack without a model: trains by asking a formula, check by check, so that whole searches take milliseconds."""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np

from loramill.config import LearningConfig, SearchConfig, Settings
from loramill.search.claims import Claim
from loramill.search.find import Search, find
from loramill.search.noise import Judges
from loramill.search.proposals import Proposal
from loramill.search.pruning import CHECKS
from loramill.search.rounds import Job, Round
from loramill.search.space import Space
from loramill.search.study import DIGITS, Entry, Member, Record
from loramill.search.verdict import Found

ROWS = 24
Objective = Callable[[Settings, int, int], Sequence[float]]
"""Loss of each row, of settings, a seed and a check."""
LAYERS = ("down_proj", "k_proj", "o_proj", "q_proj", "v_proj")


class KilledError(BaseException):
    """Stands for kill -9."""


def judges(folds: int = 1) -> Judges:
    rows = ROWS * folds
    return Judges(np.ones(rows, np.int64), np.arange(rows))


def noisy(
    loss: Callable[[Settings, int], float], seed_noise: float = 0.02, row_noise: float = 0.05, world: int = 0
) -> Objective:
    """Add what rows and seeds do: some rows are hard for all, each run is better on some rows than on others."""
    hard = np.random.default_rng(world).normal(0, 0.5, ROWS)

    def rows(settings: Settings, seed: int, check: int) -> Sequence[float]:
        draw = np.random.default_rng([world, seed, settings.rank, int(settings.learning_rate * 1e9)])
        luck = draw.normal(0, seed_noise) + draw.normal(0, row_noise, ROWS)
        return [float(value) for value in loss(settings, check) + hard + luck]

    return rows


def valley(settings: Settings, check: int) -> float:
    """Best at a rate of 6e-3, whatever the rank; deeper with each check."""
    rate = settings.learning_rate * math.sqrt(settings.rank / 8)
    return 2 + 0.3 * math.log(rate / 6e-3) ** 2 + 0.5 / check


class Pack:
    """Trains a round's jobs side by side; ``event`` hears of everything and may raise."""

    def __init__(self, objective: Objective, places: int, event: Callable[[str], None] = lambda name: None) -> None:
        self._objective, self._places, self._event = objective, places, event
        self._paused: dict[str, int] = {}
        self.log: list[str] = []
        self.checks = 0

    def __call__(self, round: Round) -> None:
        while not round.is_over():
            running = round.take(self._places)
            assert running, "the round is not over, yet nothing is due"
            while running:
                running = self._train(round, running)

    def _train(self, round: Round, running: list[Job]) -> list[Job]:
        """Bring all to their next check; then those leave that have come to a rung or to their end, and others come."""
        leaving = [job for job in running if self._comes_to_its_end(round, job)]
        staying = [job for job in running if job not in leaving]
        for number, job in enumerate(leaving, start=1):
            self._leave(round, job)
            staying += round.take(self._places - len(staying) - len(leaving[number:]))
        return staying

    def _comes_to_its_end(self, round: Round, job: Job) -> bool:
        check = self._paused[job.name] = self._paused.get(job.name, 0) + 1
        self.checks += 1
        self._event(f"check {check} of {job.name}")
        stops = round.check(job, check, float(np.mean(self._rows(job, check))))
        return stops or check in (job.until, CHECKS)

    def _leave(self, round: Round, job: Job) -> None:
        check = self._paused[job.name]
        rows = self._rows(job, check)
        self._event(f"end of {job.name}")
        status = "diverged" if not np.isfinite(rows).all() else "paused" if check < CHECKS else "finished"
        loss = round_loss(rows) if status == "finished" else None
        member = Member(status, loss, len(rows), tuple(rows) if loss is not None else (), check)
        round.end(job, None if status == "paused" else member)
        self.log.append(f"{status} {job.name} {check}")
        self._event(self.log[-1])

    def _rows(self, job: Job, check: int) -> Sequence[float]:
        return self._objective(job.settings, job.seed + 1000 * job.fold, check)


def round_loss(rows: Sequence[float]) -> float:
    return round(float(np.mean(rows)), 4)


def space(config: SearchConfig, learning: LearningConfig | None = None) -> Space:
    return Space(config, learning or LearningConfig(), LAYERS)


def searched(storage: Path | str, config: SearchConfig, train: Callable[[Round], None]) -> tuple[Found, list[Entry]]:
    whole = Search(space(config), judges(config.folds), lambda name: Record(name, storage), "law")
    return find(whole, train)


def facts(entries: Sequence[Entry]) -> list[object]:
    """What must not depend on packs, kills and workers."""
    return [(e.number, e.settings, e.state, e.value, e.losses) for e in entries]


def killing(seed: int, mean: float) -> Callable[[str], None]:
    """Die at a random moment, about ``mean`` events from now."""
    draw = random.Random(seed)
    left = [draw.randrange(1, int(2 * mean))]

    def event(name: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise KilledError(name)

    return event


class MemoryClaims:
    """Claims of one worker that never dies."""

    worker = "me"

    def __init__(self) -> None:
        self.taken: dict[int, Claim] = {}

    def all(self) -> dict[int, Claim]:
        return self.taken

    def beat(self) -> None:
        """Nobody listens."""

    def is_dead(self, claim: Claim) -> bool:
        return False


class MemoryRecord:
    """A record without a database: the same words, a thousand times as fast."""

    def __init__(self) -> None:
        self.claims = MemoryClaims()
        self.kept: list[Entry] = []

    def entries(self) -> list[Entry]:
        return list(self.kept)

    def begin(self, number: int, proposal: Proposal, seed: int) -> bool:
        self.claims.taken[number] = Claim(number, "me", 0)
        self.kept.append(Entry(number, proposal.settings, seed, {}, {}, None, None))
        return True

    def report(self, number: int, check: int, loss: float) -> float:
        entry = self.kept[number]
        self.kept[number] = replace(entry, losses={**entry.losses, check: round(loss, DIGITS)})
        return round(loss, DIGITS)

    def keep(self, number: int, fold: int, member: Member) -> None:
        entry = self.kept[number]
        self.kept[number] = replace(entry, members={**entry.members, fold: member})

    def tell(self, number: int, state: str, value: float | None) -> bool:
        self.kept[number] = replace(self.kept[number], state=state, value=value)
        return True

    def spent(self, seconds: float | None = None) -> float:
        return 0.0


def dreamt(config: SearchConfig, train: Callable[[Round], None]) -> tuple[Found, list[Entry]]:
    """Search without a database."""
    return find(Search(space(config), judges(config.folds), lambda name: cast(Record, MemoryRecord()), "law"), train)
