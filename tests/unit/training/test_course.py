from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from loramill.config import LearningConfig, Settings
from loramill.errors import DataError
from loramill.pack.methods import Shape
from loramill.prompts import Row
from loramill.training.course import Course, course_of, passes


def row(number: int, tokens: int = 3) -> Row:
    return Row(str(number), tuple(range(number, number + tokens)), 1)


def course(rows: int = 11, **changes: object) -> Course:
    plain = Course(
        name="a",
        shape=Shape(rank=4, alpha=8),
        train=tuple(row(number) for number in range(rows)),
        validation=(row(100),),
        learning_rate=1e-2,
        epochs=5,
        batch=4,
        seed=3,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def epoch(one: Course, number: int) -> list[str]:
    per = one.steps_per_epoch
    return [row.record_id for step in range(number * per, (number + 1) * per) for row in one.rows_of_step(step)]


@pytest.mark.parametrize("rows", [1, 3, 4, 11, 12])
def test_an_epoch_holds_each_row_exactly_once(rows: int) -> None:
    one = course(rows)
    for number in range(3):
        assert sorted(epoch(one, number), key=int) == [str(row) for row in range(rows)]
    assert all(1 <= len(one.rows_of_step(step)) <= 4 for step in range(one.steps))


def test_each_epoch_has_another_order_and_every_run_the_same() -> None:
    orders = [epoch(course(), number) for number in range(5)]
    assert len({tuple(order) for order in orders}) == 5
    assert orders == [epoch(course(), number) for number in range(5)]


def test_another_seed_is_another_order() -> None:
    assert epoch(course(), 0) != epoch(course(seed=4), 0)


def test_steps_are_counted_with_the_last_small_batch() -> None:
    assert (course(11).steps_per_epoch, course(11).steps, course(12).steps_per_epoch) == (3, 15, 3)


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_rate_rises_to_its_peak_in_warm_up(schedule: str) -> None:
    one = course(40, schedule=schedule, warmup=0.2)  # 10 of 50 steps
    rates = [one.rate(step) for step in range(one.steps)]
    assert all(before < after for before, after in pairwise(rates[:11]))
    assert rates[0] > 0
    assert rates[10] == max(rates) == one.learning_rate


def test_the_rate_of_a_cosine_falls_to_nothing() -> None:
    one = course(400, warmup=0.1, epochs=2)  # 200 steps
    rates = [one.rate(step) for step in range(20, one.steps)]
    assert all(before > after for before, after in pairwise(rates))
    assert rates[90] == pytest.approx(one.learning_rate / 2)
    assert 0 < rates[-1] < one.learning_rate / 1000


def test_the_rate_of_a_line_falls_evenly_and_of_a_constant_not_at_all() -> None:
    line = course(400, schedule="linear", warmup=0.0)
    falls = {round(line.rate(step) - line.rate(step + 1), 12) for step in range(line.steps - 1)}
    assert falls == {round(line.learning_rate / line.steps, 12)}
    flat = course(400, schedule="constant", warmup=0.0)
    assert {flat.rate(step) for step in range(flat.steps)} == {flat.learning_rate}


def test_one_step_alone_learns() -> None:
    assert course(1, epochs=1).rate(0) > 0


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_course_without_rows_is_refused(part: str) -> None:
    with pytest.raises(DataError, match=rf"a: the {part} split has no row; add rows, or lower the other shares"):
        course(**{part: ()})


CHANGES: list[dict[str, object]] = [
    {"learning_rate": 2e-2},
    {"epochs": 6},
    {"batch": 5},
    {"seed": 4},
    {"schedule": "linear"},
    {"warmup": 0.2},
    {"weight_decay": 0.1},
    {"clip": 2.0},
    {"patience": 4},
    {"shape": Shape(rank=8, alpha=8)},
    {"train": (row(1),)},
    {"validation": (row(1),)},
    {"start": {"w": torch.zeros(2)}},
]


def test_the_key_sees_everything_that_decides_the_result() -> None:
    keys = {course(**change).key for change in CHANGES} | {course().key, course(start={"w": torch.ones(2)}).key}
    assert len(keys) == len(CHANGES) + 2
    assert course().key == course().key


def test_a_course_obeys_the_plan() -> None:
    learning = LearningConfig(dropout=0.2, target_modules=("q_proj",), batch=3, warmup=0.3, clip=0.5, weight_decay=0.1)
    found = course_of(learning, Settings(rank=2), [row(1)], [row(2)], epochs=4, patience=2, seed=9)
    assert found.shape == Shape(rank=2, alpha=4.0, dropout=0.2, target_modules=("q_proj",), seed=9)
    assert (found.batch, found.warmup, found.clip, found.weight_decay, found.schedule) == (3, 0.3, 0.5, 0.1, "cosine")
    assert (found.epochs, found.patience, found.seed, found.learning_rate) == (4, 2, 9, 5e-3)


LENGTHS = st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=6), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(LENGTHS, st.integers(1, 80))
def test_passes_keep_order_lose_no_row_and_keep_the_budget(lengths: list[list[int]], budget: int) -> None:
    work = [
        (name, tuple(row(10 * index, tokens) for index, tokens in enumerate(sizes)))
        for name, sizes in zip("abcd", lengths, strict=False)
    ]
    parts = list(passes(work, budget))
    flat = [
        (name, first + place, one) for part in parts for name, first, rows in part for place, one in enumerate(rows)
    ]
    assert flat == [(name, place, one) for name, rows in work for place, one in enumerate(rows)]
    for part in parts:
        sizes = [len(one.ids) for _, _, rows in part for one in rows]
        assert sizes
        assert all(rows for _, _, rows in part)
        assert sum(sizes) <= budget or len(sizes) == 1


def test_passes_are_as_few_as_the_order_allows() -> None:
    work = [("a", (row(0, 10), row(1, 10))), ("b", (row(2, 10), row(3, 10)))]
    assert len(list(passes(work, 40))) == 1
    assert len(list(passes(work, 30))) == 2
    assert list(passes([], 10)) == []
