"""The memory plan: what it chooses as memory gets scarce, and what it says when there is not enough."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loramill.errors import TrainingError
from loramill.pack.members import Pack
from loramill.pack.memory import BaseShape, estimate
from loramill.pack.methods import Shape
from loramill.pack.plan import GIB, Limits, Load, MemoryPlan, Room, container_left, largest_pass, plan_memory, room_of
from loramill.pack.rows import lay_grids
from loramill.prompts import Row
from loramill.training.course import Course
from loramill.training.loop import Outcome, Silence, Tick, fit
from tests.factories import rows, tiny_base

QWEN = BaseShape(151_936, 1024, 28, 16, 8, 128, 3072, tied=True, normed_heads=True)
BASE = QWEN.weights * 2
LOAD = Load(16, True, tuple(Row("r", (0,) * 500, 300) for _ in range(8)))
MOST = 16384


def plan(free: float, members: int = 4, limits: Limits = Limits(), **changes: Any) -> MemoryPlan:  # noqa: B008 - frozen
    room = replace(Room("cuda", 2, BASE, int(free * GIB)), **changes)
    return plan_memory(QWEN, [LOAD] * members, room, MOST, limits)


def test_plenty_of_memory_changes_nothing() -> None:
    made = plan(100)
    assert (made.tokens_per_pass, made.members, made.checkpointing) == (MOST, 4, False)


def test_scarcer_memory_takes_smaller_passes_then_checkpointing_then_fewer_members() -> None:
    made = [plan(free) for free in (100, 16, 8, 4, 2, 1.2, 0.5)]
    order = [(-one.members, one.checkpointing, -one.tokens_per_pass) for one in made]
    assert order == sorted(order)
    assert made[-2].members < 4
    assert made[-1].members < made[-2].members
    assert any(one.tokens_per_pass < MOST and not one.checkpointing for one in made)
    assert any(one.checkpointing and one.members == 4 for one in made)


@pytest.mark.parametrize("free", [100, 16, 8, 4, 2, 1.5])
def test_what_is_planned_leaves_some_of_what_is_free(free: float) -> None:
    made = plan(free)
    size = largest_pass([row for _ in range(made.members) for row in LOAD.rows], made.tokens_per_pass)
    memory = estimate(
        QWEN,
        size,
        ranks=[16] * made.members,
        dropout=True,
        dtype_bytes=2,
        device="cuda",
        checkpointing=made.checkpointing,
    )
    assert made.needed == BASE + memory.adapters + memory.activations + memory.working
    assert made.needed - BASE <= 0.9 * free * GIB


def test_limits_are_obeyed() -> None:
    assert plan(100, limits=Limits("on")).checkpointing
    assert not plan(3, limits=Limits("off")).checkpointing
    capped = plan(100, limits=Limits(most=BASE + 4 * GIB))
    assert capped == plan(4)
    assert capped.budget == BASE + 4 * GIB


def test_a_row_that_does_not_fit_is_refused_with_the_smallest_remedy() -> None:
    none = r"a single row of 500 tokens at rank 16 needs .* more with gradient checkpointing, and of 0\.\d GiB .*"
    with pytest.raises(TrainingError, match=none + r"shorten the rows to [0-9]+ tokens \(learning\.max_tokens\)"):
        plan(0.24)
    with pytest.raises(TrainingError, match=r"set learning\.gradient_checkpointing: auto"):
        plan(0.9, limits=Limits("off"))
    with pytest.raises(TrainingError, match=r"raise learning\.memory_gib, the device has more"):
        plan(100, limits=Limits(most=BASE))
    with pytest.raises(TrainingError, match="load the base in bfloat16"):
        plan(0.01, dtype_bytes=4, used=2 * BASE)
    with pytest.raises(TrainingError, match="take a smaller base, or a device with more memory"):
        plan(0.01)


def test_the_plan_is_said_in_one_line() -> None:
    said = str(MemoryPlan(16384, 4, checkpointing=False, needed=int(1.6 * GIB), budget=22 * GIB))
    assert said == "plan: 16,384 tokens per pass, 4 members, no checkpointing: about 1.6 GiB of 22.0 GiB"
    assert str(MemoryPlan(512, 1, checkpointing=True)).startswith(
        "plan: 512 tokens per pass, 1 member, gradient checkpointing; what it needs cannot be told beforehand"
    )


def test_grids_hold_every_row_once_and_waste_little() -> None:
    lengths = [60, 300, 75, 290, 61, 150, 149, 300]
    grids, begins = lay_grids(lengths)
    cells = sum(count * longest for count, longest in grids)
    taken = [cell for length, begin in zip(lengths, begins, strict=True) for cell in range(begin, begin + length)]
    assert len(set(taken)) == sum(lengths)
    assert max(taken) < cells <= sum(lengths) / 0.75
    assert [count for count, _ in grids] == [3, 2, 3]


def test_a_container_with_a_limit_leaves_what_is_not_used(tmp_path: Path) -> None:
    assert list(container_left(tmp_path)) == []
    for name, content in {"max": "1000", "current": "700", "stat": "anon 500\ninactive_file 150\n"}.items():
        (tmp_path / f"memory.{name}").write_text(content, encoding="ascii")
    assert list(container_left(tmp_path)) == [450]
    (tmp_path / "memory.max").write_text("max", encoding="ascii")
    assert list(container_left(tmp_path)) == []


def test_this_machine_has_room(tiny_folder: Path) -> None:
    room = room_of(tiny_base(tiny_folder).model)
    assert room.device == "cpu"
    assert room.dtype_bytes == 4
    assert min(room.used, room.free) > 2**20


def test_members_that_do_not_fit_wait_for_a_place(tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of three at once, layers computed again, small passes: the same adapters as with plenty of memory."""
    from loramill.training import loop

    base = tiny_base(tiny_folder)
    some = rows(base, 10)
    shapes = {name: Shape(2, 4, 0.1, seed=seed) for seed, name in enumerate("abc")}
    courses = [
        Course(name, shape, tuple(some[:7]), tuple(some[7:]), 5e-3, 2, 3, seed=shape.seed)
        for name, shape in shapes.items()
    ]
    plenty = fit(Pack(base), courses, tokens_per_pass=MOST)
    monkeypatch.setattr(loop, "plan_training", lambda *_: MemoryPlan(60, 2, checkpointing=True))
    heard = Heard()
    scarce = fit(Pack(base), courses, tokens_per_pass=MOST, listener=heard)
    assert heard.at_once == {2, 1}
    assert heard.ended == ["a", "b", "c"]
    assert heard.notes[0].startswith("plan: 60 tokens per pass, 2 members, gradient checkpointing")
    for name in shapes:
        assert all(
            torch.allclose(plenty[name].best[key], scarce[name].best[key], atol=1e-4) for key in plenty[name].best
        )


class Heard(Silence):
    def __init__(self) -> None:
        self.at_once: set[int] = set()
        self.ended: list[str] = []
        self.notes: list[str] = []

    def on_tick(self, tick: Tick) -> None:
        self.at_once.add(len(tick.losses))

    def on_end(self, outcome: Outcome) -> None:
        self.ended.append(outcome.course.name)

    def on_note(self, text: str) -> None:
        self.notes.append(text)
