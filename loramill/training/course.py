"""What one member of a pack is to learn, and how."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from loramill.config import LearningConfig, Settings
from loramill.errors import DataError
from loramill.pack.methods import Shape
from loramill.pack.plan import Load
from loramill.prompts import Row


@dataclass(frozen=True)
class Course:
    """Everything that decides how one adapter turns out."""

    name: str
    shape: Shape
    train: tuple[Row, ...]
    validation: tuple[Row, ...]
    learning_rate: float
    epochs: int
    batch: int
    seed: int
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = 0.1
    weight_decay: float = 0.0
    clip: float = 1.0
    patience: int = 3
    """Validations without a better one after which it stops."""
    checks: int | None = None
    """Validations, at equal distances; none validates after each epoch."""
    until: int | None = None
    """Validation after which it pauses; given again, with a later one or none, it goes on where it was."""
    start: Mapping[str, Tensor] | None = None
    """First weights; none draws fresh ones from the shape's seed."""

    def __post_init__(self) -> None:
        for name, rows in (("train", self.train), ("validation", self.validation)):
            if not rows:
                raise DataError(
                    f"{self.name}: the {name} split has no row; add rows, or lower the other shares in conf/"
                )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training rows."""
        return math.ceil(len(self.train) / self.batch)

    @property
    def steps(self) -> int:
        """Optimizer steps at most."""
        return self.steps_per_epoch * self.epochs

    def checks_by(self, step: int) -> int:
        """Return how many validations are due within so many steps: whole epochs, unless the course has its own."""
        return step * min(self.checks or self.epochs, self.steps) // self.steps

    def reaches(self, step: int) -> bool:
        """Tell whether so many steps are no more than it may take before it pauses."""
        return self.until is None or self.checks_by(step) <= self.until

    @property
    def load(self) -> Load:
        """What the memory plan needs to know: a step of the longest rows is the largest."""
        longest = sorted(self.train, key=lambda row: -len(row.ids))[: self.batch]
        return Load(self.shape.rank, self.shape.dropout > 0, tuple(longest))

    @property
    def key(self) -> str:
        """A sha256 over all that decides the result: a checkpoint with another key is not continued."""
        facts: dict[str, Any] = {field: value for field, value in vars(self).items() if field not in _NOT_PLAIN}
        facts |= {
            "shape": asdict(self.shape),
            "train": [row.ids for row in self.train],
            "validation": [row.ids for row in self.validation],
            "start": None if self.start is None else _sums(self.start),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def rows_of_step(self, step: int) -> tuple[Row, ...]:
        """Return the rows of one optimizer step (counted from 0); each epoch has its own order."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
        shuffled = torch.randperm(len(self.train), generator=order).tolist()
        return tuple(self.train[index] for index in shuffled[place * self.batch : (place + 1) * self.batch])

    def rate(self, step: int) -> float:
        """Return the learning rate of one optimizer step (counted from 0)."""
        warm = round(self.warmup * self.steps)
        if step < warm:
            return self.learning_rate * (step + 1) / (warm + 1)
        done = (step - warm) / max(1, self.steps - warm)
        falling = {"constant": 1.0, "linear": 1.0 - done, "cosine": 0.5 * (1.0 + math.cos(math.pi * done))}
        return self.learning_rate * falling[self.schedule]


_NOT_PLAIN = {"shape", "train", "validation", "start", "until"}


def _sums(weights: Mapping[str, Tensor]) -> list[tuple[str, str]]:
    return [
        (name, hashlib.sha256(weights[name].contiguous().numpy().tobytes()).hexdigest()) for name in sorted(weights)
    ]


def passes(
    work: list[tuple[str, tuple[Row, ...]]], tokens_per_pass: int
) -> Iterator[list[tuple[str, int, tuple[Row, ...]]]]:
    """Cut the rows of a step into forward passes of at most ``tokens_per_pass`` tokens, a row at least.

    Yields:
        Lists of member, number of its first row within the step, and rows.
    """
    current: list[tuple[str, int, tuple[Row, ...]]] = []
    used = 0
    for name, rows in work:
        first = 0
        for index, row in enumerate(rows):
            if used and used + len(row.ids) > tokens_per_pass:
                if index > first:
                    current.append((name, first, rows[first:index]))
                yield current
                current, used, first = [], 0, index
            used += len(row.ids)
        current.append((name, first, rows[first:]))
    if current:
        yield current


def course_of(
    learning: LearningConfig,
    settings: Settings,
    train: Sequence[Row],
    validation: Sequence[Row],
    *,
    epochs: int,
    patience: int,
    seed: int,
) -> Course:
    """Return the course that ``conf/`` describes."""
    return Course(
        name="adapter",
        shape=Shape(settings.rank, settings.alpha, learning.dropout, learning.target_modules, seed, learning.method),
        train=tuple(train),
        validation=tuple(validation),
        learning_rate=settings.learning_rate,
        epochs=epochs,
        batch=learning.batch,
        seed=seed,
        schedule=learning.schedule,
        warmup=learning.warmup,
        weight_decay=learning.weight_decay,
        clip=learning.clip,
        patience=patience,
    )
