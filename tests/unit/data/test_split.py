import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loramill.config import SplitConfig
from loramill.data.alike import pieces
from loramill.data.ledger import PARTS, Ledger, Part, prints_of
from loramill.data.split import Split, check_parts, split_records
from loramill.errors import DataError
from loramill.records import Record
from tests.factories import record
from tests.unit.helpers import stories, story

ANY = SplitConfig(min_test_rows=1)
ROWS = stories(300)


QUICK = settings(max_examples=12, deadline=None, database=None, derandomize=True)


def places(rows: list[Record], config: SplitConfig = ANY, ledger: Ledger | None = None) -> dict[str, Part]:
    return placed(split_records(rows, config, ledger))


def placed(found: Split) -> dict[str, Part]:
    return {row.id: part for part in PARTS for row in found.parts[part]}


def remembered(rows: list[Record], *parts: Part) -> Ledger:
    """A ledger in which these rows have these parts."""
    own = {row.id: part for row, part in zip(rows, parts, strict=True)}
    return Ledger(own, prints_of(rows), frozenset(own))


def straddling(parts: Mapping[Part, list[Record]], threshold: float = 0.6) -> list[tuple[str, str]]:
    """Near-duplicates in two parts, by brute force."""
    every = [(part, row.id, pieces(row.question), pieces(row.answer)) for part in PARTS for row in parts[part]]
    return [
        (id, other)
        for ours, id, question, answer in every
        for theirs, other, question2, answer2 in every
        if ours < theirs and max(jaccard(question, question2), jaccard(answer, answer2)) >= threshold
    ]


def jaccard(one: frozenset[str], two: frozenset[str]) -> float:
    return len(one & two) / len(one | two)


def near(row: Record, end: str = "吗") -> Record:
    """Nearly the same row, with another id."""
    return record(row.question + end, row.answer, "near.txt:1")


def test_every_row_has_one_part_and_none_is_lost() -> None:
    parts = split_records(ROWS, ANY).parts
    assert sorted(row.id for part in parts.values() for row in part) == sorted(row.id for row in ROWS)
    assert set(parts) == set(PARTS)


def test_shares_are_about_what_was_asked() -> None:
    parts = split_records(ROWS, SplitConfig(test=0.3, validation=0.1, min_test_rows=1)).parts
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
    ledger = remembered(ROWS, *[PARTS[index % 3] for index in range(len(ROWS))])
    assert places(ROWS, ANY, ledger) == ledger.places


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_new_row_follows_the_old_row_that_it_is_like(part: Part) -> None:
    for old in ROWS[:8]:
        assert places([old, near(old)], ANY, remembered([old], part))[near(old).id] == part


@pytest.mark.parametrize("part", ["train", "validation"])
def test_an_edited_row_stays_where_its_first_version_was(part: Part) -> None:
    """Else a row that was learnt from could judge, only because a comma was added."""
    for old in ROWS[:8]:
        assert places([near(old)], ANY, remembered([old], part)) == {near(old).id: part}


# rows that match a test row


def test_a_new_row_like_a_test_row_is_refused_and_says_which() -> None:
    old = ROWS[0]
    found = split_records(
        [old, near(old), record("为什么不可以", old.answer + "的", "new.csv:7")], ANY, remembered([old], "test")
    )
    assert placed(found) == {old.id: "test"}
    by_source = {row.source: row for row in found.refused}
    assert set(by_source) == {"near.txt:1", "new.csv:7"}
    assert {row.rule for row in found.refused} == {"matches-test-row"}
    assert f"its answer is 96% the same as that of a test row ({old.source})" in by_source["new.csv:7"].reason
    assert "split.near_duplicate allows less than 60%" in by_source["new.csv:7"].reason
    assert by_source["new.csv:7"].text == "为什么不可以"


def test_a_row_like_a_test_row_of_long_ago_is_refused() -> None:
    old, other = ROWS[:2]
    ledger = remembered([old, other], "test", "train")
    without = split_records([other], ANY, ledger).ledger
    found = split_records([other, near(old)], ANY, without)
    assert placed(found) == {other.id: "train"}
    assert f"(id {old.id}, no longer in the data)" in found.refused[0].reason
    again = split_records([other, near(old)], ANY, found.ledger)
    assert [row.rule for row in again.refused] == ["matches-test-row"]


def test_a_corrected_test_row_takes_the_place_of_its_first_version() -> None:
    old, other = ROWS[:2]
    found = split_records([other, near(old)], ANY, remembered([old, other], "test", "train"))
    assert placed(found) == {other.id: "train", near(old).id: "test"}
    assert found.refused == []
    for row in (old, near(old)):  # both versions are known from now on
        later = split_records([other, near(row, "么")], ANY, replace(found.ledger, last=frozenset()))
        assert [row.rule for row in later.refused] == ["matches-test-row"]


def test_a_test_row_has_one_heir_the_most_alike() -> None:
    old = ROWS[0]
    close, far = near(old), record(old.question[:-4] + "改了四字", old.answer)
    far = record(far.question, far.answer[:-3] + "改三字")
    found = split_records([far, close], ANY, remembered([old], "test"))
    assert placed(found) == {close.id: "test"}
    assert [row.text for row in found.refused] == [far.question]


def test_a_row_between_a_gone_test_row_and_a_train_row_is_no_heir() -> None:
    test, train = ROWS[:2]
    bridge = record(test.question, train.answer)
    found = split_records([train, bridge], ANY, remembered([test, train], "test", "train"))
    assert placed(found) == {train.id: "train"}
    assert [row.rule for row in found.refused] == ["matches-test-row"]


def test_a_new_row_between_test_and_train_is_refused_and_moves_neither() -> None:
    train, test = ROWS[:2]
    bridge = record(train.question, test.answer, "new.csv:1")
    beside = record(train.question + "吗", story(9000).answer)
    found = split_records([train, test, bridge, beside], ANY, remembered([train, test], "train", "test"))
    assert placed(found) == {train.id: "train", test.id: "test", beside.id: "train"}
    assert [(row.source, row.rule) for row in found.refused] == [("new.csv:1", "matches-test-row")]


def test_a_new_row_between_validation_and_train_is_refused() -> None:
    train, validation = ROWS[:2]
    bridge = record(train.question, validation.answer)
    found = split_records([train, validation, bridge], ANY, remembered([train, validation], "train", "validation"))
    assert placed(found) == {train.id: "train", validation.id: "validation"}
    assert [row.rule for row in found.refused] == ["matches-validation-row"]


def test_a_lower_threshold_takes_old_rows_out_of_training_rather_than_out_of_test() -> None:
    test, train = ROWS[0], near(ROWS[0])
    ledger = remembered([test, train], "test", "train")
    found = split_records([test, train], ANY, ledger)
    assert placed(found) == {test.id: "test"}
    assert found.ledger.places == ledger.places


@QUICK
@given(st.data())
def test_rows_of_many_days_never_straddle(data: st.DataObject) -> None:
    """Rows come, go, come back and are mixed from others: by brute force, no two parts are alike on any day."""
    draw = random.Random(data.draw(st.integers(0, 10**6)))
    config = SplitConfig(test=0.3, validation=0.3, min_test_rows=1)
    pool, ledger, tests = stories(12), Ledger(), set[str]()
    for _ in range(4):
        pool += [mixed(draw, pool) for _ in range(8)]
        today = draw.sample(pool, round(len(pool) * 0.7))
        found = split_records(today, config, ledger)
        now = placed(found)
        assert straddling(found.parts) == []
        assert len(found.refused) + sum(map(len, found.parts.values())) == len(today)
        assert all(now[id] == ledger.places[id] for id in now.keys() & ledger.places.keys())
        assert tests & {row.id for row in today} <= {row.id for row in found.parts["test"]}
        assert placed(split_records(draw.sample(today, len(today)), config, ledger)) == now
        ledger, tests = found.ledger, tests | {row.id for row in found.parts["test"]}


def mixed(draw: random.Random, pool: list[Record]) -> Record:
    """A row with a question of one, an answer of another, both a little edited."""
    question, answer = draw.choice(pool).question, draw.choice([*pool, *stories(3, start=draw.randrange(10**6))]).answer
    edits = draw.randrange(6)
    return record(question[edits:] + "改" * draw.randrange(4), answer[: len(answer) - edits] + "写" * draw.randrange(3))


# parts that are too small


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (
            (20, 5, 7),
            r"32 rows leave 7 for test, too few to decide anything: 3 missing of 10\. Write about 25 more rows",
        ),
        (
            (20, 0, 12),
            r"32 rows leave 0 for validation, too few to choose settings by: 1 missing of 1\. Write about 9 more",
        ),
        ((0, 5, 12), r"17 rows leave 0 for train, too few to learn from: 1 missing of 1\. Write about 2 more rows"),
        ((0, 0, 0), r"0 rows leave 0 for test, .* 10 missing .* raise the share of test in split \(0\.12\)"),
    ],
)
def test_a_part_that_is_too_small_is_refused_with_the_number_missing(
    counts: tuple[int, int, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_parts({part: ROWS[:count] for part, count in zip(PARTS, counts, strict=True)}, SplitConfig())


def test_rows_that_must_stay_together_are_named_as_what_leaves_a_part_empty() -> None:
    alike = [record(f"第{n}号包裹什么时候能够送到我家里来呢", f"这个包裹编号是{n}，您可以随时查询") for n in range(40)]
    found = split_records(alike, SplitConfig())
    assert found.largest == 40
    with pytest.raises(DataError, match=r"40 of them are so much alike .* must stay together.* at 0\.8 at most 4 stay"):
        check_parts(found.parts, SplitConfig(), found.largest)


def test_rows_that_no_threshold_parts_are_to_be_left_out() -> None:
    found = split_records([record(row.question, ROWS[0].answer) for row in stories(40)], SplitConfig())
    with pytest.raises(DataError, match=r"leave most of them out: even at 0\.9 more than half stay together"):
        check_parts(found.parts, SplitConfig(), found.largest)


def test_the_threshold_that_parts_a_template_is_named() -> None:
    """Each answer is a template with a story of its own in it, two thirds of it shared."""
    told = [
        (row.question, f"您好，感谢您的耐心等待，{row.answer[:12]}，请您随时与我们联系，祝您愉快！")
        for row in stories(40)
    ]
    found = split_records([record(*said) for said in told], SplitConfig(near_duplicate=0.3))
    with pytest.raises(
        DataError, match=r"near_duplicate: at 0\.7 at most 1 stay together, .* up to 70% of a training row"
    ):
        check_parts(found.parts, SplitConfig(near_duplicate=0.3), found.largest)


def test_parts_that_just_suffice_are_taken() -> None:
    check_parts({"train": ROWS[:1], "validation": ROWS[:1], "test": ROWS[:10]}, SplitConfig())
