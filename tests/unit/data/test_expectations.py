"""The real Great Expectations: importing it costs some seconds, once."""

from collections.abc import Callable

import pytest

from loramill.config import ValidationConfig
from loramill.data.expectations import apply_contract, rules
from loramill.records import Record
from tests.factories import record
from tests.unit.helpers import conversation, stories

CONFIG = ValidationConfig(min_question_chars=3, min_answer_chars=4, max_answer_chars=50)
GOOD = stories(6)
BAD = [
    (record("问题", "答案答案", "short.txt:1"), "question shorter than validation.min_question_chars (3)"),
    (record("这是问题", "答案呢", "short.txt:2"), "answer shorter than validation.min_answer_chars (4)"),
    (record("这是问题", "长" * 51, "long.txt:1"), "longer than validation.max_answer_chars (50)"),
    (record("这是问题", "尊敬的{{name}}，您好", "place.txt:1"), "placeholder left in the answer"),
    (record("这是问题", "答案：\nTODO", "place.txt:2"), "placeholder left in the answer"),
    (record("这是问题", "详情待补充。", "place.txt:3"), "placeholder left in the answer"),
    (record("这是\ufffd问题", "答案答案", "broken.txt:1"), "unreadable characters (wrong encoding)"),
    (record("这是问题", "锟斤拷锟斤拷", "broken.txt:2"), "unreadable characters (wrong encoding)"),
]


@pytest.fixture(autouse=True)
def _imported(quietly: Callable[[str], None]) -> None:
    quietly("great_expectations")


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[row.source for row, _ in BAD])
def test_each_rule_drops_the_row_that_breaks_it_and_no_other(bad: Record, reason: str) -> None:
    kept, refused, verdicts = apply_contract([*GOOD[:3], bad, *GOOD[3:]], CONFIG)
    assert kept == GOOD
    assert [(row.source, row.text) for row in refused] == [(bad.source, bad.question)]
    assert reason in refused[0].reason
    assert [verdict["rows"] for verdict in verdicts if not verdict["success"]] == [[3]]


def test_rows_at_the_edge_are_kept() -> None:
    edge = [record("问题呢", "答案答案"), record("问题呢", "长" * 50), record("TODOS", "todo 清单在此")]
    kept, refused, verdicts = apply_contract(edge, CONFIG)
    assert (kept, refused) == (edge, [])
    assert len(verdicts) == len(rules(CONFIG))
    assert all(verdict["success"] for verdict in verdicts)


def test_a_copy_is_dropped_and_its_first_kept() -> None:
    copy = record(GOOD[1].question, GOOD[1].answer, "copy.txt:9")
    kept, refused, _ = apply_contract([*GOOD, copy, copy], CONFIG)
    assert kept == GOOD
    assert [(row.source, row.reason) for row in refused] == [("copy.txt:9", "the same row occurs before")] * 2


def test_the_same_question_with_another_answer_is_no_copy() -> None:
    rows = [GOOD[0], record(GOOD[0].question, GOOD[1].answer)]
    assert apply_contract(rows, CONFIG)[0] == rows


def test_a_row_that_breaks_several_rules_is_dropped_once() -> None:
    kept, refused, _ = apply_contract([*GOOD, record("问", "\ufffd", "bad.txt:1")], CONFIG)
    assert kept == GOOD
    assert [row.source for row in refused] == ["bad.txt:1"]


def test_no_row_gives_no_verdict() -> None:
    assert apply_contract([], CONFIG) == ([], [], [])


def test_an_empty_answer_in_the_middle_breaks_the_contract() -> None:
    """It could not be learnt: without this rule the training refuses it, and with it the whole run."""
    hole = conversation("这是问题", "", "还有问题", "答案答案")
    kept, refused, _ = apply_contract([*GOOD, hole], CONFIG)
    assert kept == GOOD
    assert [row.source for row in refused] == ["talk.txt:1"]
