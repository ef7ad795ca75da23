"""The memory plan, made before the first step: tokens per pass, members at once, and whether to checkpoint gradients.

Gradient checkpointing keeps each decoder layer's input only and computes the rest again in the backward pass. No part of the
plan changes a result, so it may follow the machine: smaller passes cost least, then recomputing (half as much work again), then
training members one after another.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import torch

from loramill.errors import TrainingError
from loramill.pack.memory import BaseShape, PassSize, estimate, shape_of_config
from loramill.pack.rows import lay_grids
from loramill.prompts import Row

FEW: Final = 2048
"""With fewer tokens in a pass a large device is idle: before that, layers are computed again."""
HEADROOM: Final = 0.9
"""Share of the free memory that a plan may use: the estimate is right within 15 %, most often within 6."""
GIB: Final = 2**30
CGROUP: Final = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)
"""Where Linux tells a container's limit and use, in its second and its first way."""


@dataclass(frozen=True)
class Limits:
    """What ``conf/`` says about memory."""

    checkpointing: Literal["auto", "on", "off"] = "auto"
    """``auto`` computes layers again only where memory asks for it."""
    most: int | None = None
    """Bytes that training may take at most; none takes what is free."""


@dataclass(frozen=True)
class Load:
    """What one member brings into a step."""

    rank: int
    dropout: bool
    rows: tuple[Row, ...]
    """Those of its largest step."""


@dataclass(frozen=True)
class Room:
    """A device with the base on it."""

    device: str
    dtype_bytes: int
    """Bytes of one of the base's weights."""
    used: int
    """Bytes that this process holds already."""
    free: int


@dataclass(frozen=True)
class MemoryPlan:
    """How a training uses memory."""

    tokens_per_pass: int
    members: int
    """That train at once."""
    checkpointing: bool
    needed: int | None = None
    """Bytes at the peak; none where the base's memory cannot be told beforehand."""
    budget: int | None = None

    def __str__(self) -> str:
        """Say it in one line."""
        again = "gradient checkpointing" if self.checkpointing else "no checkpointing"
        members = f"{self.members} member" + ("s" if self.members > 1 else "")
        said = f"plan: {self.tokens_per_pass:,} tokens per pass, {members}, {again}"
        if self.needed is None or self.budget is None:
            return f"{said}; what it needs cannot be told beforehand: a pass halves when memory runs out"
        return f"{said}: about {_gib(self.needed)} of {_gib(self.budget)}"


def plan_training(model: Any, loads: Sequence[Load], tokens_per_pass: int, limits: Limits) -> MemoryPlan:
    """Plan a training on a base that is in memory.

    Args:
        model: the base, a transformers model.
        loads: the members that want to train at once.
        tokens_per_pass: tokens of a pass at most.
        limits: what the user allows.

    Raises:
        TrainingError: a single row does not fit.
    """
    shape = shape_of_config(model.config.get_text_config().to_dict())
    if shape is None:
        return unknown(len(loads), tokens_per_pass, limits)
    return plan_memory(shape, loads, room_of(model), tokens_per_pass, limits)


def unknown(members: int, tokens_per_pass: int, limits: Limits) -> MemoryPlan:
    """Return the plan for what cannot be estimated: a mixture of experts, or a method that does not share a pass."""
    return MemoryPlan(tokens_per_pass, members, limits.checkpointing == "on")


def plan_memory(
    shape: BaseShape, loads: Sequence[Load], room: Room, tokens_per_pass: int, limits: Limits
) -> MemoryPlan:
    """Return the plan that costs least time among those that fit.

    Raises:
        TrainingError: a single row does not fit.
    """
    fitting: list[MemoryPlan] = []
    heaviest = sorted(loads, key=lambda load: -load.rank)
    enough = min(FEW, tokens_per_pass)
    for members in range(len(loads), 0, -1):
        for checkpointing in _choices(limits):
            for plan in _plans(shape, heaviest[:members], room, tokens_per_pass, checkpointing):
                if _fits(plan, room, limits):
                    fitting.append(replace(plan, budget=_budget(room, limits)))
                    break
            if fitting and fitting[-1].tokens_per_pass >= enough:
                return fitting[-1]
    if not fitting:
        raise TrainingError(_refusal(shape, heaviest[0], room, limits))
    return fitting[0]


def room_of(model: Any) -> Room:
    """Look how much memory the base's device has left for this process."""
    device = model.device
    if device.type == "cuda":
        free, used = torch.cuda.mem_get_info(device)[0], torch.cuda.memory_allocated(device)
        return Room("cuda", model.dtype.itemsize, used, free + torch.cuda.memory_reserved(device) - used)
    if device.type == "mps":
        used = torch.mps.driver_allocated_memory()
        return Room("mps", model.dtype.itemsize, used, torch.mps.recommended_max_memory() - used)
    import psutil

    free = min(psutil.virtual_memory().available, *container_left(Path("/sys/fs/cgroup")))
    return Room("cpu", model.dtype.itemsize, psutil.Process().memory_info().rss, free)


def container_left(cgroup: Path) -> Iterator[int]:
    """Yield what a container's limit leaves, if it has one; files that are merely cached give way and do not count."""
    for limit, used, stat in CGROUP:
        try:
            numbers = dict(line.split() for line in (cgroup / stat).read_text(encoding="ascii").splitlines())
            cached = int(numbers.get("total_inactive_file", numbers.get("inactive_file", 0)))
            whole, taken = (int((cgroup / file).read_text(encoding="ascii")) for file in (limit, used))
        except (OSError, ValueError):  # not there, or `max`: no limit
            continue
        yield max(0, whole - taken + cached)


def largest_pass(rows: Sequence[Row], tokens_per_pass: int) -> PassSize:
    """Return the size of the largest pass that can be cut from a step: its longest rows, one at least."""
    taken: list[Row] = []
    used = 0
    for row in sorted(rows, key=lambda row: -len(row.ids)):
        if taken and used + len(row.ids) > tokens_per_pass:
            break
        taken.append(row)
        used += len(row.ids)
    grids, _ = lay_grids([len(row.ids) for row in taken])
    return PassSize(used, sum(count * longest for count, longest in grids), sum(row.targets for row in taken))


def _choices(limits: Limits) -> tuple[bool, ...]:
    return {"auto": (False, True), "on": (True,), "off": (False,)}[limits.checkpointing]


def _plans(
    shape: BaseShape, loads: Sequence[Load], room: Room, tokens_per_pass: int, checkpointing: bool
) -> Iterator[MemoryPlan]:
    """Yield plans with ever smaller passes, down to a single row."""
    rows = [row for load in loads for row in load.rows]
    longest = max(len(row.ids) for row in rows)
    while True:
        size = largest_pass(rows, tokens_per_pass)
        needed = room.used + _more(shape, loads, room, size, checkpointing)
        yield MemoryPlan(tokens_per_pass, len(loads), checkpointing, needed)
        if size.tokens <= longest:
            return
        tokens_per_pass = max(longest, size.tokens // 2)


def _more(shape: BaseShape, loads: Sequence[Load], room: Room, size: PassSize, checkpointing: bool) -> int:
    """Return the bytes that training adds to what the process holds already."""
    memory = estimate(
        shape,
        size,
        ranks=[load.rank for load in loads],
        dropout=any(load.dropout for load in loads),
        dtype_bytes=room.dtype_bytes,
        device=room.device,
        checkpointing=checkpointing,
    )
    return memory.adapters + memory.activations + memory.working


def _budget(room: Room, limits: Limits) -> int:
    there = room.used + room.free
    return there if limits.most is None else min(there, limits.most)


def _fits(plan: MemoryPlan, room: Room, limits: Limits) -> bool:
    """Tell whether what is added leaves some of what is free."""
    assert plan.needed is not None
    return plan.needed - room.used <= HEADROOM * (_budget(room, limits) - room.used)


def _smallest(shape: BaseShape, load: Load, room: Room, limits: Limits) -> MemoryPlan:
    return list(_plans(shape, [load], room, 1, _choices(limits)[-1]))[-1]


def _refusal(shape: BaseShape, load: Load, room: Room, limits: Limits) -> str:
    plan = _smallest(shape, load, room, limits)
    longest = max(len(row.ids) for row in load.rows)
    how = "with gradient checkpointing" if plan.checkpointing else "without gradient checkpointing"
    needed = (plan.needed or 0) - room.used
    return (
        f"a single row of {longest:,} tokens at rank {load.rank} needs {_gib(needed)} more {how}, and of "
        f"{_gib(_budget(room, limits) - room.used)} only {HEADROOM:.0%} are given out: {_remedy(shape, load, room, limits)}"
    )


def _remedy(shape: BaseShape, load: Load, room: Room, limits: Limits) -> str:
    """Name the smallest change with which a single row fits."""
    if _alone_fits(shape, load, room, replace(limits, checkpointing="auto")):
        return "set learning.gradient_checkpointing: auto"
    if _alone_fits(shape, load, room, Limits()):
        return "raise learning.memory_gib, the device has more"
    longest = max(len(row.ids) for row in load.rows)
    for tokens in (longest * part // 8 for part in (6, 4, 2, 1)):
        short = Row("short", (0,) * tokens, tokens // 2)
        if tokens > 1 and _alone_fits(shape, replace(load, rows=(short,)), room, Limits(most=limits.most)):
            return f"shorten the rows to {tokens:,} tokens (learning.max_tokens)"
    spared = shape.weights * (room.dtype_bytes - 2)
    half = replace(room, dtype_bytes=2, used=max(0, room.used - spared), free=room.free + min(spared, room.used))
    if spared and _alone_fits(shape, load, half, Limits(most=limits.most)):
        return "load the base in bfloat16 (dtype in its file in conf/bases/)"
    return "take a smaller base, or a device with more memory"


def _alone_fits(shape: BaseShape, load: Load, room: Room, limits: Limits) -> bool:
    return _fits(_smallest(shape, load, room, limits), room, limits)


def _gib(size: int) -> str:
    return f"{size / GIB:,.1f} GiB" if size >= GIB // 10 else f"{size / 2**20:,.0f} MiB"
