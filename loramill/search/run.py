"""Rounds of trials on a real base: places in one pack that take the next training as soon as one ends."""

import math
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from loramill.config import LearningConfig, SearchConfig
from loramill.errors import TrainingError
from loramill.pack.members import Pack
from loramill.pack.rows import Batch
from loramill.prompts import Row
from loramill.search.pruning import CHECKS
from loramill.search.rounds import Job, Round
from loramill.search.study import DIGITS, Entry, Member
from loramill.training.checkpoint import paused_place
from loramill.training.course import Course, course_of, passes
from loramill.training.loop import Listener, Outcome, Tick, fit

WAIT = 1.0
"""Seconds between looks at the record while other workers train the last trials."""
Fold = tuple[Sequence[Row], Sequence[Row]]
"""Training and validation rows."""


@dataclass(frozen=True)
class Ended:
    """One trial that ended, with the curves of its first member where this worker trained it."""

    label: str
    entry: Entry
    outcome: Outcome | None


@dataclass
class Trainer:
    """Trains the trials of a round in packs."""

    pack: Pack
    config: SearchConfig
    learning: LearningConfig
    folds: Sequence[Fold]
    listener: Listener
    on_trial: Callable[[Ended], None]
    checkpoint: Path
    scores_rows: bool = True
    """Whether each row's loss is measured; a base that is split over processes cannot be asked by one of them."""
    done: int = 0
    """Optimizer steps so far, of all trials."""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """Of first members whose trials have not ended."""

    @property
    def total(self) -> int:
        """Optimizer steps of the whole search at most."""
        longest = max(self.config.epoch_choices or (self.config.epochs,))
        trials = self.config.trials + self.config.repeats * (len(self.config.rank) + 1)
        return trials * sum(math.ceil(len(train) / self.learning.batch) for train, _ in self.folds) * longest

    def __call__(self, round: Round) -> None:
        """Train until every trial of the round has ended; wait for those of other workers.

        Raises:
            AdapterError: a trial's layers or method do not fit the base.
            TrainingError: the checkpoint is damaged.
        """
        while not round.is_over():
            if jobs := round.take(self.config.pack):
                self._fit(round, jobs, refill=True)
            else:
                round.alive()  # trials of its own may pause until others have come to their rung
                time.sleep(WAIT)

    def course(self, job: Job) -> Course:
        """Return what a job is to learn."""
        train, validation = self.folds[job.fold]
        epochs = job.settings.epochs or self.config.epochs
        learning = job.settings.over(self.learning)
        course = course_of(learning, job.settings, train, validation, epochs=epochs, patience=CHECKS, seed=job.seed)
        return replace(course, name=job.name, checks=CHECKS, until=job.until)

    def _fit(self, round: Round, jobs: Sequence[Job], *, refill: bool) -> None:
        """Train jobs side by side; if memory runs out, one by one, and the one for which it runs out alone fails."""
        desk = _Desk(self, round, jobs, refill)
        try:
            fit(
                self.pack,
                [self.course(job) for job in jobs],
                tokens_per_pass=self.learning.tokens_per_pass,
                listener=desk,
                checkpoint=self.checkpoint,
                save_steps=min(math.ceil(len(train) / self.learning.batch) for train, _ in self.folds),
            )
        except (TrainingError, torch.OutOfMemoryError) as error:
            if not (isinstance(error, torch.OutOfMemoryError) or isinstance(error.__context__, torch.OutOfMemoryError)):
                raise
            left = list(desk.jobs.values())
            if len(left) == 1:
                self.listener.on_note(f"{left[0].name}: {error}; this one fails, the others go on")
                self.ended(round, left[0], Member("failed", None, 0, (), 0))
                return
            for job in left:
                self._fit(round, [job], refill=False)

    def ended(self, round: Round, job: Job, member: Member | None, outcome: Outcome | None = None) -> None:
        """Write down how a job ended, or that it pauses, and tell of the trials that this ended."""
        losses = {}
        if outcome is not None and job.fold == 0:
            self.outcomes[job.name] = outcome
            losses = dict(enumerate(outcome.progress.validation_losses[1:], start=1))
        for entry in round.end(job, member, losses):
            name = Job(entry.number, 0, entry.settings, entry.seed, round.rules.label).name
            shutil.rmtree(paused_place(self.checkpoint, name), ignore_errors=True)
            if (first := self.outcomes.pop(name, None)) is not None:
                self.done += first.course.steps - first.progress.step
            self.on_trial(Ended(round.rules.label, entry, first))


class _Desk:
    """Stands between the loop and a round: reports, and sends what is due into places that are free."""

    def __init__(self, trainer: Trainer, round: Round, jobs: Sequence[Job], refill: bool) -> None:
        self._trainer, self._round, self._refill = trainer, round, refill
        self.jobs = {job.name: job for job in jobs}

    def on_tick(self, tick: Tick) -> None:
        """Count the steps of all trials, and show other workers that this one lives."""
        self._round.alive()
        self._trainer.done += len(tick.losses)
        total = max(self._trainer.total, self._trainer.done)
        self._trainer.listener.on_tick(replace(tick, done=self._trainer.done, total=total))

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Write it down; end what has failed or belongs to another worker."""
        self._trainer.listener.on_epoch(name, epoch, validation_loss)
        return epoch > 0 and self._round.check(self.jobs[name], epoch, validation_loss)

    def on_end(self, outcome: Outcome) -> list[Course]:
        """Write down how it ended, or that it pauses; give what is due for all places that are free."""
        job, trainer = self.jobs.pop(outcome.course.name), self._trainer
        trainer.listener.on_end(outcome)
        trainer.ended(self._round, job, _member(trainer, outcome), outcome)
        following = self._round.take(trainer.config.pack - len(self.jobs)) if self._refill else []
        self.jobs |= {one.name: one for one in following}
        return [trainer.course(one) for one in following]

    def on_note(self, text: str) -> None:
        """Pass it on."""
        self._trainer.listener.on_note(text)


def _member(trainer: Trainer, outcome: Outcome) -> Member | None:
    progress, course = outcome.progress, outcome.course
    targets = sum(row.targets for row in course.validation)
    if progress.status == "diverged" or not math.isfinite(progress.validation_losses[-1]):
        return Member("diverged", None, targets, (), progress.step)
    if progress.status == "paused":
        return None
    if progress.status == "pruned":
        return Member("pruned", None, targets, (), progress.step)
    weights, tokens = outcome.best, trainer.learning.tokens_per_pass
    rows = row_losses(trainer.pack, course, weights, tokens) if trainer.scores_rows else ()
    return Member(progress.status, round(progress.best_loss, DIGITS), targets, rows, progress.step)


def row_losses(pack: Pack, course: Course, weights: Mapping[str, Tensor], tokens_per_pass: int) -> tuple[float, ...]:
    """Return the summed loss of each validation row with these weights."""
    pack.add(course.name, course.shape, steps=course.steps)
    try:
        pack.set_weights(course.name, weights)
        sums: list[float] = []
        with torch.no_grad():
            for part in passes([(course.name, course.validation)], tokens_per_pass):
                for name, _, rows in part:
                    losses_T = pack.losses([Batch(name, rows)])[0]
                    sums += [round(loss.sum().item(), DIGITS) for loss in losses_T.split([row.targets for row in rows])]
        return tuple(sums)
    finally:
        pack.remove(course.name)
