from dataclasses import replace

import pytest

from loramill.config import SplitConfig
from loramill.data.changes import Changes, Drift, compare_rows, find_drift
from loramill.data.ledger import Ledger, prints_of
from loramill.data.split import split_records
from loramill.records import Record
from tests.factories import record
from tests.unit.helpers import stories, story

ROWS = stories(20)


def compared(before: list[Record], now: list[Record]) -> Changes:
    return compare_rows({row.id for row in before}, now, prints_of([row for row in before if row not in now]), 0.6)


def test_the_same_rows_are_no_change_whatever_their_order_and_place() -> None:
    found = compared(ROWS, [replace(row, source="moved.txt:1") for row in reversed(ROWS)])
    assert (found.rows, found.kept, found.said) == (0, 20, "nothing changed, 20 as before")


def test_added_changed_and_removed_rows_are_told_apart() -> None:
    corrected = record(ROWS[3].question + "吗", ROWS[3].answer)
    found = compared(ROWS, [*ROWS[:3], corrected, *ROWS[5:], story(100), story(101)])
    assert found.added == (story(100).id, story(101).id)
    assert found.changed == ((ROWS[3].id, corrected.id),)
    assert found.removed == (ROWS[4].id,)
    assert found.fresh == {story(100).id, story(101).id, corrected.id}
    assert found.said == "2 added, 1 changed, 1 removed, 18 as before"


def test_two_versions_of_one_row_are_one_change_and_one_new_row() -> None:
    twins = [record(ROWS[0].question + end, ROWS[0].answer) for end in ("吗", "么")]
    found = compared(ROWS, [*ROWS[1:], *twins])
    assert (len(found.changed), len(found.added), found.removed) == (1, 1, ())


def test_a_gone_row_without_a_fingerprint_is_removed_never_changed() -> None:
    corrected = record(ROWS[0].question + "吗", ROWS[0].answer)
    found = compare_rows({row.id for row in ROWS}, [*ROWS[1:], corrected], {}, 0.6)
    assert (found.removed, found.added, found.changed) == ((ROWS[0].id,), (corrected.id,), ())


def test_longer_answers_are_a_drift_and_few_rows_are_none() -> None:
    long = [record(row.question, row.answer * 3) for row in stories(5, start=50)]
    assert [each.kind for each in find_drift(ROWS, long)] == ["answer length"]
    assert find_drift(ROWS, long[:4]) == []
    assert find_drift(ROWS, stories(5, start=60)) == []


def test_a_topic_that_only_new_rows_speak_of_is_a_drift() -> None:
    kinds = (("公司拖欠工资", "应当支付报酬"), ("工伤认定申请", "伤残等级鉴定"), ("竞业限制协议", "按月给予补偿"))
    rows = [(kinds[row % 3], each) for row, each in enumerate(stories(24))]
    old = [record(f"{asked}{row.question[:6]}", f"{said}{row.answer[:9]}") for (asked, said), row in rows]
    new = [
        record(f"怀孕女职工产假{row.question[:6]}", f"产假不得降薪{row.answer[:9]}") for row in stories(12, start=80)
    ]
    found = [each for each in find_drift(old, new) if each.kind == "topic"]
    assert found
    assert any(each.before == 0 and each.after >= 0.5 for each in found), found


def test_a_drift_is_said_in_plain_words() -> None:
    assert Drift("answer length", 90.0, 180.0).said == "new answers have 180 characters in the middle, the others 90"
    topic = Drift("topic", 0.05, 0.4, "产假 · 女职工")
    assert topic.said == "the topic “产假 · 女职工” makes 40% of the new rows, 5% of the others"


# forgotten rows


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_forgotten_row_has_no_place_and_leaves_no_trace_in_the_ledger(part: str) -> None:
    first = split_records(rows := stories(60), SplitConfig(min_test_rows=1))
    victim = first.parts[part][0]  # type: ignore[index]
    found = split_records(rows, SplitConfig(min_test_rows=1, forgotten=(victim.id,)), first.ledger)
    assert all(victim not in each for each in found.parts.values())
    assert [(row.rule, row.source, row.text) for row in found.refused] == [("forgotten", victim.source, "")]
    assert victim.question not in found.refused[0].reason
    assert victim.id not in found.ledger.places
    assert victim.id not in found.ledger.prints
    for name, kept in first.parts.items():  # nobody else moves
        assert found.parts[name] == [row for row in kept if row != victim]


def test_a_forgotten_row_stays_out_when_it_comes_back() -> None:
    config = SplitConfig(min_test_rows=1, forgotten=(ROWS[0].id,))
    without = split_records(ROWS[1:], config, Ledger())
    again = split_records([*ROWS[1:], ROWS[0]], config, without.ledger)
    assert [row.rule for row in again.refused] == ["forgotten"]
