"""The plan before it is carried out: tokens, steps, minutes and memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final

from loramill.config import Plan, Settings
from loramill.pack.memory import BaseShape, Memory, PassSize, estimate
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


def forecast(
    plan: Plan, splits: dict[str, list[Row]], shape: BaseShape | None, speed: Speed, settings: Settings | None
) -> Forecast:
    """Work out what a run will do.

    Args:
        plan: the domain's plan.
        splits: rendered rows by split; ``train`` and ``validation`` must have one at least.
        shape: the base's shape, if its configuration tells.
        speed: of the machine.
        settings: what an earlier search found; without it the largest rank that may be tried is assumed.
    """
    rows = [row for part in splits.values() for row in part]
    rank = settings.rank if settings else max(plan.search.rank if plan.search.trials else (plan.search.fixed.rank,))
    members = min(plan.search.pack, plan.search.trials)
    return Forecast(
        rows={part: len(of) for part, of in splits.items()},
        prompt=_lengths([row.prompt_length for row in rows]),
        answer=_lengths([row.targets for row in rows]),
        row=_lengths([len(row.ids) for row in rows]),
        search=_stage(
            plan, splits, shape, speed, [max(plan.search.rank)] * members, plan.search.epochs, plan.search.trials
        ),
        train=_stage(plan, splits, shape, speed, [rank], plan.train.epochs, 1),
    )


def largest_pass(rows: Sequence[Row], batch: int, members: int, tokens_per_pass: int) -> PassSize:
    """Return the largest pass that training can meet: a step of the longest rows, cut at ``tokens_per_pass``."""
    longest = sorted(rows, key=lambda row: -len(row.ids))[:batch]
    step = [row for row in longest for _ in range(members)]
    taken: list[Row] = []
    used = 0
    for row in step:
        if taken and used + len(row.ids) > tokens_per_pass:
            break
        taken.append(row)
        used += len(row.ids)
    return PassSize(used, len(taken) * len(longest[0].ids), sum(row.targets for row in taken))


def _stage(
    plan: Plan,
    splits: dict[str, list[Row]],
    shape: BaseShape | None,
    speed: Speed,
    ranks: Sequence[int],
    epochs: int,
    trials: int,
) -> Stage:
    train, learning = splits["train"], plan.learning
    tokens = trials * epochs * sum(len(row.ids) for row in train)
    checked = trials * (epochs + 1) * sum(len(row.ids) for row in splits["validation"])
    memory = None
    if shape is not None and ranks:
        size = largest_pass(train, learning.batch, len(ranks), learning.tokens_per_pass)
        dropout = learning.dropout > 0
        memory = estimate(
            shape, size, ranks=ranks, dropout=dropout, dtype_bytes=_dtype_bytes(plan, speed.device), device=speed.device
        )
    steps = trials * epochs * math.ceil(len(train) / learning.batch)
    return Stage(steps, tokens, _seconds(shape, speed, tokens, checked, splits), memory)


def _seconds(
    shape: BaseShape | None, speed: Speed, tokens: int, checked: int, splits: dict[str, list[Row]]
) -> float | None:
    if speed.tokens_per_second:
        return (tokens + checked * FORWARD / (FORWARD + BACKWARD)) / speed.tokens_per_second
    if shape is None or not speed.flops:
        return None
    rows = [row for part in splits.values() for row in part]
    learnt = sum(row.targets for row in rows) / sum(len(row.ids) for row in rows)
    weights = shape.layer_weights + learnt * shape.vocabulary * shape.width
    work = weights * (tokens * (FORWARD + BACKWARD) + checked * FORWARD)
    return work / (speed.flops * REACHED[speed.device])


def _dtype_bytes(plan: Plan, device: str) -> int:
    half = plan.base.dtype in {"bfloat16", "float16"} or (plan.base.dtype == "auto" and device == "cuda")
    return 2 if half else 4


def _lengths(sizes: Sequence[int]) -> Lengths:
    p95 = quantiles(sizes, n=20, method="inclusive")[-1] if len(sizes) > 1 else sizes[0]
    return Lengths(sum(sizes), round(median(sizes)), round(p95), max(sizes))
