import random

import pytest

from loramill.config import SplitConfig
from loramill.data.split import PARTS, Part, split_records
from loramill.errors import DataError
from loramill.records import Record
from tests.factories import record
from tests.unit.helpers import stories, story

ANY = SplitConfig(min_test_rows=1)
ROWS = stories(300)


def places(rows: list[Record], config: SplitConfig = ANY, ledger: dict[str, Part] | None = None) -> dict[str, Part]:
    parts = split_records(rows, config, ledger)
    return {row.id: part for part in PARTS for row in parts[part]}


def near(row: Record, end: str = "吗") -> Record:
    """Nearly the same row, with another id."""
    return record(row.question + end, row.answer, "near.txt:1")


def test_every_row_has_one_part_and_none_is_lost() -> None:
    parts = split_records(ROWS, ANY)
    assert sorted(row.id for part in parts.values() for row in part) == sorted(row.id for row in ROWS)
    assert set(parts) == set(PARTS)


def test_shares_are_about_what_was_asked() -> None:
    parts = split_records(ROWS, SplitConfig(test=0.3, validation=0.1, min_test_rows=1))
    assert 60 < len(parts["test"]) < 120
    assert 15 < len(parts["validation"]) < 50


def test_reordering_moves_no_row() -> None:
    shuffled = ROWS[:]
    random.Random(1).shuffle(shuffled)
    assert places(shuffled) == places(ROWS)


def test_adding_and_removing_rows_moves_no_other_row() -> None:
    before = places(ROWS)
    more = places([*stories(50, start=1000), *ROWS])
    assert {id: more[id] for id in before} == before
    fewer = places(ROWS[::3])
    assert fewer == {row.id: before[row.id] for row in ROWS[::3]}


def test_a_source_moves_no_row() -> None:
    moved = [record(row.question, row.answer, f"other.csv:{index}") for index, row in enumerate(ROWS)]
    assert places(moved) == places(ROWS)


def test_near_duplicates_stay_together() -> None:
    twins = [near(row) for row in ROWS]
    found = places([*ROWS, *twins])
    assert [found[row.id] for row in ROWS] == [found[twin.id] for twin in twins]
    assert set(found.values()) == set(PARTS)


def test_rows_whose_answers_are_nearly_the_same_stay_together() -> None:
    twins = [record(story(index + 5000).question, row.answer + "的") for index, row in enumerate(ROWS)]
    found = places([*ROWS, *twins])
    assert [found[row.id] for row in ROWS] == [found[twin.id] for twin in twins]


def test_rows_that_are_not_near_enough_may_part() -> None:
    twins = [near(row) for row in ROWS]
    found = places([*ROWS, *twins], SplitConfig(near_duplicate=1.0, min_test_rows=1))
    together = [found[row.id] == found[twin.id] for row, twin in zip(ROWS, twins, strict=True)]
    assert all(together)  # their answers are the same, letter by letter
    others = [record(row.question + "吗", row.answer + "的") for row in ROWS]
    found = places([*ROWS, *others], SplitConfig(near_duplicate=1.0, min_test_rows=1))
    assert [found[row.id] for row in ROWS] != [found[other.id] for other in others]


def test_a_ledger_wins() -> None:
    ledger: dict[str, Part] = {row.id: PARTS[index % 3] for index, row in enumerate(ROWS)}
    assert places(ROWS, ANY, ledger) == ledger


def test_a_new_row_like_a_test_row_goes_to_test() -> None:
    ledger: dict[str, Part] = {ROWS[0].id: "test", ROWS[1].id: "train", ROWS[2].id: "validation"}
    for old, part in zip(ROWS[:3], ("test", "train", "validation"), strict=True):
        for end in "吗呢吧啊":
            assert places([*ROWS[:3], near(old, end)], ANY, ledger)[near(old, end).id] == part


def test_a_new_row_between_test_and_train_goes_to_test_and_moves_neither() -> None:
    old = [record("甲" * 3 + story(1).question, story(2).answer), record(story(3).question, story(4).answer)]
    bridge = record(old[0].question, old[1].answer)
    ledger: dict[str, Part] = {old[0].id: "train", old[1].id: "test"}
    assert places([*old, bridge], ANY, ledger) == {**ledger, bridge.id: "test"}


def test_too_few_test_rows_are_refused_with_the_number_missing() -> None:
    rows = ROWS[:30]
    there = len(split_records(rows, ANY)["test"])
    asked = SplitConfig(min_test_rows=there + 3)
    more = round(3 / asked.test)
    with pytest.raises(
        DataError, match=rf"30 rows leave {there} for testing, .*write about {more} more rows, or raise"
    ):
        split_records(rows, asked)
    assert len(split_records(rows, SplitConfig(min_test_rows=there))["test"]) == there


def test_no_rows_are_too_few() -> None:
    with pytest.raises(DataError, match="0 rows leave 0 for testing"):
        split_records([], ANY)
