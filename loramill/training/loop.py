"""The one training loop: every adapter of loramill, alone or in a pack, is trained here.

Order within a step: rows, forward, backward, check finite, clip, step, rate, report. The loop knows no tracker and no
orchestrator: it tells a `Listener` and returns `Outcome`.
"""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from loramill.errors import TrainingError
from loramill.pack.alone import ALONE
from loramill.pack.base import is_split
from loramill.pack.forward import Draw
from loramill.pack.members import Pack
from loramill.pack.plan import MemoryPlan, plan_training, unknown
from loramill.pack.rows import Batch
from loramill.prompts import Row
from loramill.training.checkpoint import paused_place, restore_checkpoint, save_checkpoint
from loramill.training.course import Course, passes
from loramill.training.processes import (
    add_gradients,
    anywhere,
    from_main,
    in_step,
    own_passes,
    own_rows,
    rank,
    split,
    summed,
    world,
)
from loramill.training.student import Progress, Student

T = TypeVar("T")


@dataclass(frozen=True)
class Tick:
    """One step of all members that are still training."""

    done: int
    """``total`` less the steps that the member with most of them has yet to take."""
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
        """Hear of a member's validation, by number where the course has its own; answer True to prune it."""
        ...

    def on_end(self, outcome: "Outcome") -> Sequence[Course] | None:
        """Hear that a member has ended or pauses; give courses for its place and for others that are free, or none."""
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

    def on_end(self, outcome: "Outcome") -> Sequence[Course] | None:
        """Leave the place empty."""
        return None

    def on_note(self, text: str) -> None:
        """Ignore it."""


class _Shared:
    """Passes everything on; what the main process's listener answers holds in all processes."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener

    def on_tick(self, tick: Tick) -> None:
        """Pass it on."""
        self._listener.on_tick(tick)

    def on_note(self, text: str) -> None:
        """Pass it on."""
        self._listener.on_note(text)

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Ask the main process."""
        return from_main(self._listener.on_epoch(name, epoch, validation_loss))

    def on_end(self, outcome: "Outcome") -> Sequence[Course] | None:
        """Ask the main process."""
        return from_main(self._listener.on_end(outcome))


@dataclass(frozen=True)
class Outcome:
    """How a course ended or where it pauses; ``best`` are the weights with the lowest validation loss, never just the last."""

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
    """Train all courses at once on the pack's base, or as many as memory holds; return each one's outcome by name.

    The memory plan (`loramill.pack.plan`) is made and told before the first step; ``tokens_per_pass`` is its upper bound. A
    member hangs on the base while it is trained. When one ends, `Listener.on_end` may send others into its place; one that
    pauses is kept beside ``checkpoint`` and goes on when it is sent again. A run that was killed continues each member from
    ``checkpoint`` and ends with the same weights as one that was not; AdaLoRA, whose budget PEFT does not hand out, begins anew
    each time. Several processes (`loramill.training.processes`) train what the main one is given; they end with equal weights.

    Raises:
        AdapterError: these methods cannot share a pack.
        TrainingError: the checkpoint is damaged, or one row does not fit into memory.
    """
    listener = listener or Silence()
    plan = _plan(pack, courses, tokens_per_pass)
    listener.on_note(str(plan))
    if world() > 1:
        courses, plan = from_main((tuple(courses), plan))
        return _fit(pack, courses, plan, _Shared(listener), checkpoint, save_steps)
    return _fit(pack, courses, plan, listener, checkpoint, save_steps)


def _plan(pack: Pack, courses: Sequence[Course], tokens_per_pass: int) -> MemoryPlan:
    if is_split() or not courses or any(course.shape.method in ALONE for course in courses):
        return unknown(len(courses), tokens_per_pass, pack.limits)
    return plan_training(pack.base.model, [course.load for course in courses], tokens_per_pass, pack.limits)


def follow(open_pack: Callable[[], Pack]) -> None:
    """Train what the main process trains, until `loramill.training.processes.dismiss`.

    Args:
        open_pack: gives this process's own pack; called when there is something to train, once.
    """
    pack = None
    while order := from_main(None):
        pack = pack or open_pack()
        _fit(pack, *order, _Shared(Silence()))


def _fit(
    pack: Pack,
    courses: Sequence[Course],
    plan: MemoryPlan,
    listener: Listener,
    checkpoint: Path | None = None,
    save_steps: int = 50,
) -> dict[str, Outcome]:
    if rank() != 0 or any(course.shape.method == "adalora" for course in courses):
        checkpoint = None
    if is_split():
        split(pack.base.model, [course.shape.method for course in courses])
    pack.checkpointing = plan.checkpointing
    crowd = _Crowd(pack, listener, checkpoint, courses[plan.members :])
    try:
        for course in courses[: plan.members]:
            crowd.join(course)
        continued = restore_checkpoint(checkpoint, crowd.students) if checkpoint is not None else set()
        if continued:
            step = max(student.progress.step for student in crowd.students)
            listener.on_note(f"continues after step {step} from {checkpoint}")
        _align(crowd.students)
        _run(crowd, plan.tokens_per_pass, listener, checkpoint, save_steps)
        return crowd.outcomes
    finally:
        crowd.disperse()


class _Crowd:
    """Who is being trained just now, who waits for a place, and how those before them ended."""

    def __init__(self, pack: Pack, listener: Listener, checkpoint: Path | None, waiting: Sequence[Course]) -> None:
        self.pack, self.listener, self.checkpoint = pack, listener, checkpoint
        self.waiting = list(waiting)
        self.is_full = bool(waiting)
        """Whether memory holds no more than those who began."""
        self.students: list[Student] = []
        self.untrained: dict[tuple[Row, ...], float] = {}
        """The base's loss on validation rows."""
        self.outcomes: dict[str, Outcome] = {}

    def join(self, course: Course) -> None:
        """Hang a member on the base; one that paused goes on."""
        self.students.append(Student(self.pack, course))
        if self.checkpoint is not None:
            restore_checkpoint(paused_place(self.checkpoint, course.name), self.students[-1:])

    def part(self) -> None:
        """Take those who have ended or pause off the base, and let the next ones in."""
        leaving = [student for student in self.students if not student.is_training]
        for student in leaving:
            if student.progress.status == "paused" and self.checkpoint is not None:
                save_checkpoint(paused_place(self.checkpoint, student.name), [student])
            self.students.remove(student)
            self.pack.remove(student.name)
            outcome = self.outcomes[student.name] = Outcome(student.course, student.progress, student.best)
            self.waiting += self.listener.on_end(outcome) or ()
        room = len(leaving) if self.is_full else len(self.waiting)
        joining, self.waiting = self.waiting[:room], self.waiting[room:]
        for course in joining:
            self.join(course)
            _align(self.students[-1:])

    def disperse(self) -> None:
        """Take everybody off the base."""
        for student in self.students:
            self.pack.remove(student.name)


def _align(students: list[Student]) -> None:
    """Give all processes the main one's state: only it reads files, and a decomposition may differ in its last bit."""
    for student in students if world() > 1 else ():
        student.restore(*from_main((student.facts(), student.tensors())))


def evaluate(pack: Pack, name: str | None, rows: Sequence[Row], tokens_per_pass: int) -> list[tuple[float, int]]:
    """Return, for each row, the sum of its target losses (nats) and the number of its targets."""
    sums: list[tuple[float, int]] = []
    with torch.no_grad():
        parts = passes([("", tuple(rows))] if rows else [], tokens_per_pass)
        for part in in_step(parts, lambda: _idle(pack)):
            for _, _, batch in part:
                losses_T = pack.losses([Batch(name, batch)])[0]
                sums += [(loss.sum().item(), len(loss)) for loss in losses_T.split([row.targets for row in batch])]
    return sums


def _run(crowd: _Crowd, tokens_per_pass: int, listener: Listener, checkpoint: Path | None, save_steps: int) -> None:
    for count in itertools.count(1):
        if fresh := [student for student in crowd.students if not student.progress.validation_losses]:
            _validate(fresh, tokens_per_pass, listener, crowd.untrained)
        if active := [student for student in crowd.students if student.is_training]:
            total = max(student.course.steps for student in active)
            tokens_per_pass, tick = _step(active, tokens_per_pass, listener, total)
            listener.on_tick(tick)
            if due := [student for student in active if student.is_training and student.ends_epoch]:
                _validate(due, tokens_per_pass, listener, crowd.untrained)
            if checkpoint is not None and (count % save_steps == 0 or not all(s.is_training for s in active)):
                save_checkpoint(checkpoint, crowd.students)
        crowd.part()
        if not crowd.students:
            return


def _step(active: list[Student], tokens_per_pass: int, listener: Listener, total: int) -> tuple[int, Tick]:
    """Take one optimizer step with each active student; halve the pass when memory runs out."""
    started = time.perf_counter()
    work = {student.name: student.course.rows_of_step(student.progress.step) for student in active}
    while (losses := _tried(_gradients, active, work, tokens_per_pass)) is None:
        tokens_per_pass = _smaller(tokens_per_pass, work, active, listener)
    add_gradients([weight for student in active for weight in student.parameters])
    losses = dict(zip(losses, summed(list(losses.values())), strict=True))
    for student in active:
        student.step(losses[student.name])
        if student.progress.status == "diverged":
            listener.on_note(
                f"{student.name}: the loss was not finite at step {student.progress.step + 1}; this one stops, "
                "its best weights so far are kept, the others go on. A lower learning rate helps"
            )
    tokens = sum(len(row.ids) for rows in work.values() for row in rows)
    left = max(student.course.steps - student.progress.step for student in active)
    return tokens_per_pass, Tick(total - left, total, losses, tokens / (time.perf_counter() - started))


def _tried(attempt: Callable[..., T], *arguments: Any) -> T | None:
    """Return what ``attempt`` gives, or None in all processes if any of them ran out of memory.

    Raises:
        TrainingError: the base is split, so that the others wait in the middle of a pass and cannot begin anew.
    """
    result: T | None = None
    with suppress(torch.OutOfMemoryError):
        result = attempt(*arguments)
    if result is None and is_split():
        raise TrainingError(
            "out of memory, and a split base cannot begin a pass anew; lower learning.tokens_per_pass and run it "
            "again: it continues from its checkpoint with the same loss"
        )
    return None if anywhere(result is None) else result


def _gradients(active: list[Student], work: Mapping[str, tuple[Row, ...]], tokens_per_pass: int) -> dict[str, float]:
    """Leave in each student this process's part of the gradient of its mean target loss; return its part of those losses.

    The sum over targets is divided by their number in the whole step, not in a pass: many passes equal one.
    """
    targets = {name: sum(row.targets for row in rows) for name, rows in work.items()}
    draws = {student.name: Draw(student.course.seed, student.progress.step) for student in active}
    losses = dict.fromkeys(work, 0.0)
    pack = active[0].pack
    for part in in_step(own_passes(work.items(), tokens_per_pass), lambda: _idle(pack)):
        batches = [Batch(name, rows, first) for name, first, rows in part]
        sums = [
            losses_T.sum() / targets[name]
            for (name, _, _), losses_T in zip(part, pack.losses(batches, draws), strict=True)
        ]
        torch.stack(sums).sum().backward()
        for (name, _, _), value in zip(part, sums, strict=True):
            losses[name] += value.item()
    for student in active if rank() == 0 else ():
        if (extra := student.pack.penalty(student.name)) is not None:
            extra.backward()
    return losses


def _idle(pack: Pack) -> None:
    """Make a pass that changes nothing, because the other processes need this one's part of a split base."""
    losses_T = pack.losses([Batch(None, (Row("idle", (0, 1), 1),))])[0]
    if losses_T.requires_grad:
        losses_T.sum().backward()


def _smaller(
    tokens_per_pass: int, work: Mapping[str, tuple[Row, ...]], active: list[Student], listener: Listener
) -> int:
    """Return half of ``tokens_per_pass`` after memory ran out; from a single row on, layers are computed again.

    Raises:
        TrainingError: that was tried, or is not allowed.
    """
    pack = active[0].pack
    longest = max(len(row.ids) for rows in work.values() for row in rows)
    if tokens_per_pass <= longest and (pack.checkpointing or pack.limits.checkpointing == "off"):
        raise TrainingError(
            f"out of memory with a single row of {longest} tokens; take a smaller base, a shorter max_tokens, or dtype bfloat16"
        )
    for student in active:
        student.optimizer.zero_grad(set_to_none=True)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if tokens_per_pass <= longest:
        pack.checkpointing = True
        listener.on_note("out of memory with a single row: gradient checkpointing begins; the loss stays the same")
        return tokens_per_pass
    used = min(tokens_per_pass, sum(len(row.ids) for rows in work.values() for row in rows) // world())
    listener.on_note(f"out of memory: {used} tokens per pass become {used // 2}; the loss stays the same")
    return used // 2


def _validate(
    students: list[Student], tokens_per_pass: int, listener: Listener, untrained: dict[tuple[Row, ...], float]
) -> None:
    """Score each student on its validation rows and let the listener prune.

    Fresh adapters that add nothing yet all have the base's loss: ``untrained`` has it by rows once it is known.
    """
    for student in students:
        loss = untrained.get(student.course.validation) if student.adds_nothing else None
        if loss is None:
            loss, tokens_per_pass = _validation_loss(student, tokens_per_pass, listener)
        if student.adds_nothing:
            untrained[student.course.validation] = loss
        student.judge(loss)
        if listener.on_epoch(student.name, student.epoch, loss) and student.is_training:
            student.progress.status = "pruned"


def _validation_loss(student: Student, tokens_per_pass: int, listener: Listener) -> tuple[float, int]:
    """Return a student's loss on its validation rows and the size of a pass that memory held."""
    rows = student.course.validation
    while (sums := _tried(evaluate, student.pack, student.name, own_rows(rows), tokens_per_pass)) is None:
        tokens_per_pass = _smaller(tokens_per_pass, {student.name: rows}, [student], listener)
    total, targets = summed([sum(part for part, _ in sums), sum(count for _, count in sums)])
    return total / targets, tokens_per_pass
