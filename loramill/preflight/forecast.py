"""The plan before it is carried out: tokens, steps, minutes and memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from loramill.config import Plan, Settings
from loramill.pack.memory import BaseShape, Memory, estimate
from loramill.prompts import Row

FORWARD, BACKWARD = 2, 2
"""Floating-point operations per weight and token; a frozen base needs no gradient of its weights, which would be 2 more."""
REACHED: Final = {"cuda": 0.35, "mps": 0.3, "cpu": 0.22}
"""Share of a large matrix product's speed that training reaches; measured on a CPU, assumed elsewhere."""


@dataclass(frozen=True)
class Lengths:
    """How long something is, in tokens."""

    total: int
    median: int
    p95: int
    longest: int


@dataclass(frozen=True)
class Stage:
    """What search or train will do at most: trials may be pruned, training may stop early."""

    steps: int
    """Optimizer steps of all members."""
    tokens: int
    """Tokens that are learnt from, each as often as it is seen, validation not counted."""
    seconds: float | None
    """None where the base's shape is not known."""
    memory: Memory | None


@dataclass(frozen=True)
class Speed:
    """How quickly tokens pass, and how that is known."""

    tokens_per_second: float | None
    """Measured in the domain's last training."""
    flops: float
    """Of a matrix product on this device, measured just now; 0 if the first is given."""
    device: str


@dataclass(frozen=True)
class Forecast:
    """The whole plan."""

    rows: dict[str, int]
    """By split."""
    prompt: Lengths
    answer: Lengths
    row: Lengths
    search: Stage
    train: Stage


@dataclass(frozen=True)
class _Work:
    """Trainings of one kind, as many as there will be at most."""

    runs: int
    epochs: int
    steps: int
    """Of one training in one epoch."""
    learnt: float
    """Tokens that one training learns from in one epoch."""
    checked: float
    """Tokens of the rows that judge it."""
    rows: Sequence[Row]
    """From which its steps are drawn."""
    ranks: Sequence[int]
    """Of those that run at once."""


def forecast(
    plan: Plan, splits: dict[str, list[Row]], shape: BaseShape | None, speed: Speed, settings: Settings | None
) -> Forecast:
    """Work out what a run will do.

    Args:
        plan: the domain's plan.
        splits: rendered rows by split; ``train`` and ``validation`` must have one at least.
        shape: the base's shape, if its configuration tells.
        speed: of the machine.
        settings: what an earlier search found; without it the largest rank and most epochs that may be tried are assumed.
    """
    rows = [row for part in splits.values() for row in part]
    works = (_searched(plan, splits), _trained(plan, splits, settings))
    search, train = (
        Stage(
            steps=work.runs * work.epochs * work.steps,
            tokens=round(work.runs * work.epochs * work.learnt),
            seconds=_seconds(shape, speed, work, rows),
            memory=_memory(plan, shape, speed, work),
        )
        for work in works
    )
    return Forecast(
        rows={part: len(of) for part, of in splits.items()},
        prompt=_lengths([row.prompt_length for row in rows]),
        answer=_lengths([row.targets for row in rows]),
        row=_lengths([len(row.ids) for row in rows]),
        search=search,
        train=train,
    )


def _searched(plan: Plan, splits: dict[str, list[Row]]) -> _Work:
    """Every trial, each once for every fold, and in the end the best at every rank and the next best, with fresh seeds."""
    config, folds = plan.search, plan.search.folds
    trials = config.trials + config.repeats * (len(set(config.rank)) + 1) if config.trials else 0
    rows, judges = splits["train"], splits["validation"]
    learnt, checked, count = float(_tokens(rows)), float(_tokens(judges)), len(rows)
    if folds > 1:
        rows = [*rows, *judges]
        checked = _tokens(rows) / folds
        learnt, count = _tokens(rows) - checked, len(rows) - len(rows) // folds
    return _Work(
        runs=trials * folds,
        epochs=_most_epochs(plan),
        steps=math.ceil(count / plan.learning.batch),
        learnt=learnt,
        checked=checked,
        rows=rows,
        ranks=[max(config.rank)] * min(config.pack, trials * folds),
    )


def _trained(plan: Plan, splits: dict[str, list[Row]], settings: Settings | None) -> _Work:
    rows, searched = splits["train"], plan.search.trials > 0
    fixed = plan.search.fixed
    rank = settings.rank if settings else max(plan.search.rank) if searched else fixed.rank
    epochs = settings.epochs if settings else max(plan.search.epoch_choices, default=None) if searched else fixed.epochs
    return _Work(
        runs=1,
        epochs=epochs or plan.train.epochs,
        steps=math.ceil(len(rows) / plan.learning.batch),
        learnt=_tokens(rows),
        checked=_tokens(splits["validation"]),
        rows=rows,
        ranks=[rank],
    )


def _most_epochs(plan: Plan) -> int:
    return max(plan.search.epoch_choices, default=plan.search.epochs)


def _memory(plan: Plan, shape: BaseShape | None, speed: Speed, work: _Work) -> Memory | None:
    """Return what the largest pass needs: a step of the longest rows of all members."""
    if shape is None or not work.ranks:
        return None
    from loramill.pack.plan import largest_pass

    learning = plan.learning
    longest = sorted(work.rows, key=lambda row: -len(row.ids))[: learning.batch]
    size = largest_pass(longest * len(work.ranks), learning.tokens_per_pass)
    half = plan.base.dtype in {"bfloat16", "float16"} or (plan.base.dtype == "auto" and speed.device == "cuda")
    return estimate(
        shape,
        size,
        ranks=work.ranks,
        dropout=learning.dropout > 0,
        dtype_bytes=2 if half else 4,
        device=speed.device,
        checkpointing=learning.gradient_checkpointing == "on",
    )


def _seconds(shape: BaseShape | None, speed: Speed, work: _Work, rows: Sequence[Row]) -> float | None:
    """Return how long it takes: rows that judge pass once before the first epoch and after each, without a way back."""
    tokens, checked = work.runs * work.epochs * work.learnt, work.runs * (work.epochs + 1) * work.checked
    if speed.tokens_per_second:
        return (tokens + checked * FORWARD / (FORWARD + BACKWARD)) / speed.tokens_per_second
    if shape is None or not speed.flops:
        return None
    learnt = sum(row.targets for row in rows) / _tokens(rows)
    weights = shape.layer_weights + learnt * shape.vocabulary * shape.width
    operations = weights * (tokens * (FORWARD + BACKWARD) + checked * FORWARD)
    return operations / (speed.flops * REACHED[speed.device])


def _tokens(rows: Sequence[Row]) -> int:
    return sum(len(row.ids) for row in rows)


def _lengths(sizes: Sequence[int]) -> Lengths:
    p95 = quantiles(sizes, n=20, method="inclusive")[-1] if len(sizes) > 1 else sizes[0]
    return Lengths(sum(sizes), round(median(sizes)), round(p95), max(sizes))
