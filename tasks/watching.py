"""What ``train`` lets a person see while it runs: a bar, answers to fixed questions, curves, warnings in plain words.

Watching never costs the training anything but a little time: what fails here is said once and left out from then on.
"""

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loramill.config import TrainConfig
from loramill.tracking import diary
from loramill.training.watch import Curves, Kind, concerns
from tasks.probes import BASE, Answer, Probes, probe_records
from tasks.progress import TrainingBar

if TYPE_CHECKING:
    from loramill.training.course import Course
    from loramill.training.loop import Outcome, Tick
    from tasks.lesson import Lesson

SHOWN_CHARS: Final = 48
"""Characters of an answer in the terminal; the table has them all."""
UNTIL: Final = "LORAMILL_UNTIL"
"""Environment variable: the moment (`time.time`) after which a training ends; its processes, if it has several, hear it too."""
LOOK_STEPS: Final = 20
"""Steps between two looks at the curves, besides the one after each epoch."""


@contextmanager
def watching(config: TrainConfig, lesson: "Lesson", course: "Course", out: Path, report: Path) -> Iterator["Watch"]:
    """Watch one course; the base answers the probes first, while nothing hangs on it.

    Args:
        config: says how much is shown.
        lesson: the pack, and the rows that are learnt and asked.
        course: what is about to be trained.
        out: the adapter's folder; TensorBoard's files go into ``tensorboard/<run>`` beside it.
        report: the probes' answers are kept as ``probes.json`` beside it.
    """
    from loramill.pack.base import is_split

    can_ask = config.probe_steps > 0 and not is_split()  # the main process alone cannot speak with a part of the base
    asked = probe_records(lesson.validation, config.probes) if can_ask else []
    probes = Probes(lesson.pack, asked, lesson.train, report.with_name("probes.json"))
    with TrainingBar("train", course.steps) as bar:
        watch = Watch(course, bar, probes if asked else None, config.probe_steps)
        try:
            watch.begin(out.parent / "tensorboard" / _run_name() if config.tensorboard else None)
            yield watch
        finally:
            watch.end()


@contextmanager
def curfew(seconds: float) -> Iterator[None]:
    """Let trainings that begin in this block end with the epoch they are in when the time is up; their best so far is kept."""
    if math.isinf(seconds):
        yield
        return
    os.environ[UNTIL] = str(time.time() + seconds)
    try:
        yield
    finally:
        del os.environ[UNTIL]


class Watch:
    """The listener of a course that is trained alone."""

    def __init__(self, course: "Course", bar: TrainingBar, probes: Probes | None, probe_steps: int) -> None:
        self._course, self._bar = course, bar
        self._probes, self._probe_steps = probes, probe_steps
        self._board: Board | None = None
        self._entries = _Entries()
        self._epochs: list[float] = []
        self._until = float(os.environ.get(UNTIL, "inf"))
        self.is_cut = False
        """Whether the time was up before the training was done."""
        self.warnings: dict[Kind, str] = {}
        """What was said, each kind once."""

    @property
    def speeds(self) -> list[float]:
        """Tokens per second of each step."""
        return self._bar.speeds

    def begin(self, board: Path | None) -> None:
        """Open TensorBoard's files in a folder, if one is given, and let the base answer."""
        if board is not None:
            self._board = self._try("TensorBoard", lambda: Board(board))
        for number, record in enumerate(self._probes.records if self._probes else (), start=1):
            self.on_note(f"probe {number}: {_short(record.question)}")
        self._ask(None, 0)

    def end(self) -> None:
        """Close the files."""
        if self._board is not None:
            self._try("TensorBoard", self._board.close)

    def on_tick(self, tick: "Tick") -> None:
        """Move the bar, draw the curves, ask the probes when they are due."""
        self._bar.on_tick(tick)
        step, loss = tick.done, tick.losses[self._course.name]
        if not math.isfinite(loss):
            return
        rate = self._course.rate(step - 1)
        pace = {"learning_rate": rate, "tokens_per_second": tick.tokens_per_second}
        self._entries.add({"train_loss": loss, **pace}, step - 1)
        self._draw({"loss/train": loss, **pace}, step)
        if step % LOOK_STEPS == 0:
            self._look()
        if self._probe_steps and (step % self._probe_steps == 0 or step == tick.total):
            self._ask(self._course.name, step)

    def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
        """Draw the point, look for something to warn of, let MLflow have what is new; tell whether the time is up."""
        self._bar.on_epoch(name, epoch, validation_loss)
        self._epochs.append(validation_loss)
        self._entries.add({"validation_loss": validation_loss}, epoch)
        self._draw({"loss/validation": validation_loss}, epoch * self._course.steps_per_epoch)
        self._look()
        self._entries.write()
        self.is_cut = epoch > 0 and time.time() > self._until
        return self.is_cut

    def on_end(self, outcome: "Outcome") -> None:
        """Judge the whole course, the part before a restart included, and give MLflow the rest."""
        progress = outcome.progress
        self._judge(progress.train_losses, progress.validation_losses, progress.norms)
        whole = {
            "train_loss": progress.train_losses,
            "learning_rate": progress.rates,
            "gradient_norm": progress.norms,
            "validation_loss": progress.validation_losses,
        }
        for name, values in whole.items():
            for step, value in enumerate(values):
                self._entries.add({name: value}, step)
        self._entries.write(again=True)

    def on_note(self, text: str) -> None:
        """Print it above the bar."""
        self._bar.on_note(text)

    def _look(self) -> None:
        """Judge the curves so far; those of a continued course lack their beginning and wait for `on_end`."""
        losses = self._entries.points.get("train_loss", {})
        if 0 in losses:
            self._judge(list(losses.values()), self._epochs)

    def _judge(self, train: list[float], validation: list[float], norms: Sequence[float] = ()) -> None:
        course = self._course
        curves = Curves(
            train=train,
            validation=validation,
            steps_per_epoch=course.steps_per_epoch,
            steps=course.steps,
            learning_rate=course.learning_rate,
            is_fresh=course.start is None,
            norms=norms,
        )
        for kind, text in concerns(curves).items():
            self._warn(kind, text)

    def _warn(self, kind: Kind, text: str) -> None:
        if kind not in self.warnings:
            self.warnings[kind] = text
            self.on_note(f"warning, {kind}: {text}")

    def _ask(self, member: str | None, step: int) -> None:
        if self._probes is None:
            return
        given = self._try("probes", lambda: self._answered(member, step))
        if given is None:
            self._probes = None

    def _answered(self, member: str | None, step: int) -> list[Answer]:
        assert self._probes is not None
        given = self._probes.ask(member, step)
        when = f"step {step}" if member else BASE
        for each in given:
            self.on_note(f"probe {each.probe}, {when}: {_short(each.answer)}")
            if self._board is not None:
                self._board.text(f"probe {each.probe}", f"{each.question}\n\n> {each.answer}", step)
        self._entries.answer(given)
        self._entries.write()
        if member and (passage := self._probes.recited(given)):
            self._warn("recitation", _recited(passage, step))
        return given

    def _draw(self, values: Mapping[str, float], step: int) -> None:
        board = self._board
        if board is not None and self._try("TensorBoard", lambda: board.scalars(values, step)) is None:
            self._board = None

    def _try(self, what: str, action: Callable[[], Any]) -> Any:
        """Return what an action returns; none, and a note, if it fails."""
        try:
            return action()
        except Exception as error:  # memory, disk, a model that cannot generate: none is worth a training
            self.on_note(f"{what} left out from here: {str(error) or type(error).__name__}")
            return None


class Board:
    """TensorBoard's event files in one folder; the library is imported when the first one is opened."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder))

    def scalars(self, values: Mapping[str, float], step: int) -> int:
        """Add a point to each curve; return how many."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        return len(values)

    def text(self, name: str, text: str, step: int) -> None:
        """Add a text (Markdown)."""
        self._writer.add_text(name, text, step)

    def close(self) -> None:
        """Write everything out."""
        self._writer.close()


class _Entries:
    """What MLflow is given while the training runs: each point of a curve and each answer once."""

    def __init__(self) -> None:
        self.points: dict[str, dict[int, float]] = {}
        """By curve and step."""
        self._fresh: dict[str, dict[int, float]] = {}
        self._answers: list[Answer] = []
        self._is_heard = True

    def add(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve, unless it is there."""
        for name, value in values.items():
            if step not in self.points.setdefault(name, {}):
                self.points[name][step] = value
                self._fresh.setdefault(name, {})[step] = value

    def answer(self, given: Sequence[Answer]) -> None:
        """Add rows to the table."""
        self._answers += given

    def write(self, *, again: bool = False) -> None:
        """Give the diary what is new; once MLflow did not take something, only ``again`` does: each try may wait for seconds.

        What MLflow does not take, the diary keeps for it.
        """
        for name, values in self._fresh.items():
            if values and (self._is_heard or again):
                self._is_heard = diary().curve(name, values)
                self._fresh[name] = {}
        if self._answers and (self._is_heard or again):
            self._is_heard = diary().table("probes", [asdict(each) for each in self._answers])
            self._answers = []


def _run_name() -> str:
    """Return the moment and, where there is one, the beginning of MLflow's run id."""
    return "-".join(part for part in (f"{datetime.now():%Y%m%d-%H%M%S}", diary().run_id[:8]) if part)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= SHOWN_CHARS else f"{flat[:SHOWN_CHARS]}…"


def _recited(passage: str, step: int) -> str:
    return (
        f"at step {step} a probe's answer repeats a training row word for word: {_short(passage)!r}. A statute may be quoted; "
        "if it is no quotation, take fewer train.epochs or a smaller rank, and check the rows for personal data"
    )
