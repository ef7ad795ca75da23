"""The one training loop: every adapter of loramill, alone or in a pack, is trained here.

Order within a step: rows, forward, backward, check finite, clip, step, rate, report. The loop knows no tracker and no
orchestrator: it tells a `Listener` and returns `Outcome`.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from loramill.errors import TrainingError
from loramill.pack.forward import Draw
from loramill.pack.members import Pack
from loramill.pack.rows import Batch
from loramill.prompts import Row
from loramill.training.checkpoint import restore_checkpoint, save_checkpoint
from loramill.training.course import Course, passes
from loramill.training.student import Progress, Student


@dataclass(frozen=True)
class Tick:
    """One step of all members that are still training."""

    done: int
    """Steps taken by the member that is furthest."""
    total: int
    """Steps of the longest course."""
    losses: Mapping[str, float]
    """Training loss by member, nats per target token."""
    tokens_per_second: float


class Listener(Protocol):
    """Whoever wants to know how it goes."""

    def on_tick(self, tick: Tick) -> None:
        """Hear of a step."""
        ...

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Hear of a member's validation; answer True to prune it."""
        ...

    def on_end(self, outcome: "Outcome") -> Course | None:
        """Hear that a member has ended; give the next course for its place, or none."""
        ...

    def on_note(self, text: str) -> None:
        """Hear of something that a person should know."""
        ...


class Silence:
    """A listener that wants to know nothing."""

    def on_tick(self, tick: Tick) -> None:
        """Ignore it."""

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Never prune."""
        return False

    def on_end(self, outcome: "Outcome") -> Course | None:
        """Leave the place empty."""
        return None

    def on_note(self, text: str) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Outcome:
    """How a course ended; ``best`` are the weights with the lowest validation loss, never just the last."""

    course: Course
    progress: Progress
    best: Mapping[str, Tensor]


def fit(
    pack: Pack,
    courses: Sequence[Course],
    *,
    tokens_per_pass: int,
    listener: Listener | None = None,
    checkpoint: Path | None = None,
    save_steps: int = 50,
) -> dict[str, Outcome]:
    """Train all courses at once on the pack's base; return each one's outcome by name.

    A member hangs on the base while it is trained. When one ends, `Listener.on_end` may send another into its place. A run that
    was killed continues each member from ``checkpoint`` and ends with the same weights as one that was not; AdaLoRA, whose
    budget PEFT does not hand out, begins anew.

    Raises:
        AdapterError: these methods cannot share a pack.
        TrainingError: the checkpoint is damaged, or one row does not fit into memory.
    """
    listener = listener or Silence()
    if any(course.shape.method == "adalora" for course in courses):
        checkpoint = None
    crowd = _Crowd(pack, listener)
    try:
        for course in courses:
            crowd.join(course)
        continued = restore_checkpoint(checkpoint, crowd.students) if checkpoint is not None else set()
        if continued:
            step = max(student.progress.step for student in crowd.students)
            listener.on_note(f"continues after step {step} from {checkpoint}")
        _run(crowd, tokens_per_pass, listener, checkpoint, save_steps)
        return crowd.outcomes
    finally:
        crowd.disperse()


class _Crowd:
    """Who is being trained just now, and how those before them ended."""

    def __init__(self, pack: Pack, listener: Listener) -> None:
        self.pack, self.listener = pack, listener
        self.students: list[Student] = []
        self.outcomes: dict[str, Outcome] = {}

    def join(self, course: Course) -> None:
        """Hang a member on the base."""
        self.students.append(Student(self.pack, course))

    def part(self) -> None:
        """Take those who have ended off the base, and let the next ones in."""
        for student in [student for student in self.students if not student.is_training]:
            self.students.remove(student)
            self.pack.remove(student.name)
            outcome = self.outcomes[student.name] = Outcome(student.course, student.progress, student.best)
            if (following := self.listener.on_end(outcome)) is not None:
                self.join(following)

    def disperse(self) -> None:
        """Take everybody off the base."""
        for student in self.students:
            self.pack.remove(student.name)


def evaluate(pack: Pack, name: str | None, rows: Sequence[Row], tokens_per_pass: int) -> list[tuple[float, int]]:
    """Return, for each row, the sum of its target losses (nats) and the number of its targets."""
    sums: list[tuple[float, int]] = []
    with torch.no_grad():
        for part in passes([("", tuple(rows))], tokens_per_pass):
            for _, _, batch in part:
                losses_T = pack.losses([Batch(name, batch)])[0]
                sums += [(loss.sum().item(), len(loss)) for loss in losses_T.split([row.targets for row in batch])]
    return sums


def _run(crowd: _Crowd, tokens_per_pass: int, listener: Listener, checkpoint: Path | None, save_steps: int) -> None:
    for count in itertools.count(1):
        if fresh := [student for student in crowd.students if not student.progress.validation_losses]:
            _validate(fresh, tokens_per_pass, listener)
        if active := [student for student in crowd.students if student.is_training]:
            total = max(student.course.steps for student in active)
            tokens_per_pass, tick = _step(active, tokens_per_pass, listener, total)
            listener.on_tick(tick)
            if due := [student for student in active if student.is_training and student.ends_epoch]:
                _validate(due, tokens_per_pass, listener)
            if checkpoint is not None and (count % save_steps == 0 or not all(s.is_training for s in active)):
                save_checkpoint(checkpoint, crowd.students)
        crowd.part()
        if not crowd.students:
            return


def _step(active: list[Student], tokens_per_pass: int, listener: Listener, total: int) -> tuple[int, Tick]:
    """Take one optimizer step with each active student; halve the pass when memory runs out."""
    started = time.perf_counter()
    work = {student.name: student.course.rows_of_step(student.progress.step) for student in active}
    while True:
        try:
            losses = _gradients(active, work, tokens_per_pass)
            break
        except torch.OutOfMemoryError:
            tokens_per_pass = _smaller(tokens_per_pass, work, active, listener)
    for student in active:
        student.step(losses[student.name])
        if student.progress.status == "diverged":
            listener.on_note(
                f"{student.name}: the loss was not finite at step {student.progress.step + 1}; this one stops, "
                "its best weights so far are kept, the others go on. A lower learning rate helps"
            )
    tokens = sum(len(row.ids) for rows in work.values() for row in rows)
    done = max(student.progress.step for student in active)
    return tokens_per_pass, Tick(done, total, losses, tokens / (time.perf_counter() - started))


def _gradients(active: list[Student], work: Mapping[str, tuple[Row, ...]], tokens_per_pass: int) -> dict[str, float]:
    """Leave in each student the gradient of its mean target loss over its whole step; return those losses.

    The sum over targets is divided by their number in the whole step, not in a pass: many passes equal one.
    """
    targets = {name: sum(row.targets for row in rows) for name, rows in work.items()}
    draws = {student.name: Draw(student.course.seed, student.progress.step) for student in active}
    losses = dict.fromkeys(work, 0.0)
    for part in passes(list(work.items()), tokens_per_pass):
        batches = [Batch(name, rows, first) for name, first, rows in part]
        sums = [
            losses_T.sum() / targets[name]
            for (name, _, _), losses_T in zip(part, active[0].pack.losses(batches, draws), strict=True)
        ]
        torch.stack(sums).sum().backward()
        for (name, _, _), value in zip(part, sums, strict=True):
            losses[name] += value.item()
    for student in active:
        if (extra := student.pack.penalty(student.name)) is not None:
            extra.backward()
    return losses


def _smaller(
    tokens_per_pass: int, work: Mapping[str, tuple[Row, ...]], active: list[Student], listener: Listener
) -> int:
    """Return half of ``tokens_per_pass`` after memory ran out.

    Raises:
        TrainingError: a pass was down to one row already.
    """
    longest = max(len(row.ids) for rows in work.values() for row in rows)
    if tokens_per_pass <= longest:
        raise TrainingError(
            f"out of memory with a single row of {longest} tokens; take a smaller base, a shorter max_tokens, or dtype bfloat16"
        )
    for student in active:
        student.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    used = min(tokens_per_pass, sum(len(row.ids) for rows in work.values() for row in rows))
    listener.on_note(f"out of memory: {used} tokens per pass become {used // 2}; the loss stays the same")
    return used // 2


def _validate(students: list[Student], tokens_per_pass: int, listener: Listener) -> None:
    """Score each student on its validation rows and let the listener prune; smaller passes when memory runs out."""
    for student in students:
        rows = student.course.validation
        while True:
            try:
                sums = evaluate(student.pack, student.name, rows, tokens_per_pass)
                break
            except torch.OutOfMemoryError:
                tokens_per_pass = _smaller(tokens_per_pass, {student.name: rows}, [student], listener)
        loss = sum(part for part, _ in sums) / sum(count for _, count in sums)
        student.judge(loss)
        if listener.on_epoch(student.name, student.epoch, loss) and student.is_training:
            student.progress.status = "pruned"
