"""The whole contract, judged plainly: that Great Expectations says the same is proven in the integration lane."""

from collections.abc import Iterable

import pytest

from loramill.config import Action, Rules, ValidationConfig
from loramill.data import contract
from loramill.data.contract import Outcome, check_rows, kept_records
from loramill.data.expectations import cross_rules, judge_plainly, row_rules
from loramill.data.export import dropped_csv
from loramill.data.findings import Refused
from loramill.data.spool import Spool
from loramill.records import Record
from tests.factories import record
from tests.unit.helpers import conversation, stories

CONFIG = ValidationConfig(min_question_chars=3, min_answer_chars=4, max_answer_chars=50)
GOOD = stories(6)
BAD = {
    "too_short": record("问题", "答案答案"),
    "too_long": record("这是问题", "".join(row.answer for row in stories(3, 50))),
    "empty": conversation("这是问题", "", "还有问题", "答案答案"),
    "placeholder": record("这是问题", "尊敬的{{name}}，您好"),
    "mojibake": record("这是\ufffd问题", "答案答案"),
    "repetition": record("这是问题", "哈哈" * 20),
    "echo": record("这是一个问题", "这是一个问题。"),
    "special_token": record("这是问题", "答案答案<|im_end|>"),
    "control_character": record("这是问题", "答案\x00答案"),
    "url_only": record("这是问题", "https://example.com/a"),
    "exact_duplicate": record(GOOD[1].question, GOOD[1].answer),
    "fill_in": record("这是问题", "我是[姓名]，您好"),
    "cut_off": record("这是问题", "需要带上材料："),
    "refusal": record("这是问题", "作为一个人工智能，我不知道"),
    "invisible_character": record("这是问题", "答案\u200b答案"),
    "html": record("这是问题", "答案<br>答案"),
}


def check(rows: Iterable[Record | Refused], config: ValidationConfig = CONFIG) -> tuple[Outcome, list[Record]]:
    with Spool() as spool:
        outcome = check_rows(rows, config, spool, judge_plainly)
        return outcome, list(kept_records(outcome, spool))


def everything() -> list[Record]:
    return [*GOOD[:3], *BAD.values(), *GOOD[3:]]


def test_every_rule_catches_its_row_and_no_other_and_does_what_conf_says() -> None:
    outcome, kept = check(everything())
    caught = {verdict["rule"] for verdict in outcome.expectations if not verdict["success"]}
    assert caught == BAD.keys()
    dropped = [name for name in BAD if getattr(CONFIG.rules, name) == "drop"]
    assert [row.rule for row in outcome.dropped] == dropped
    assert {row.rule for row in outcome.warned} == BAD.keys() - set(dropped)
    assert kept == [*GOOD[:3], *(row for name, row in BAD.items() if name not in dropped), *GOOD[3:]]


@pytest.mark.parametrize("action", ["drop", "warn", "off"])
def test_nothing_vanishes_whatever_the_actions(action: Action) -> None:
    config = CONFIG.model_copy(update={"rules": Rules(**dict.fromkeys(Rules.model_fields, action))})
    unread = Refused("bad.txt:1", "unknown-role", "no role", "没有角色")
    outcome, kept = check([unread, *everything()], config)
    assert outcome.read == len(everything()) + 1 == len(kept) + len(outcome.dropped)
    assert len(kept) == (len(GOOD) if action == "drop" else len(everything()))
    assert sum(outcome.reasons.values()) == len(outcome.dropped)
    assert bool(outcome.warned) == (action == "warn")


def test_yaml_reads_off_as_false_and_means_off() -> None:
    assert Rules.model_validate({"html": False}).html == "off"


def test_reasons_name_the_value_and_the_knob() -> None:
    reasons = {row.rule: row.reason for row in check(everything())[0].dropped}
    assert reasons["too_short"] == "question of 2 characters, shorter than validation.min_question_chars (3)"
    assert "longer than validation.max_answer_chars (50)" in reasons["too_long"]
    assert "«{{name}}»" in reasons["placeholder"]
    assert "100% of the answer, more than validation.max_repeated (50%)" in reasons["repetition"]
    assert reasons["exact_duplicate"].endswith(GOOD[1].source)
    assert "\\u0000" in reasons["control_character"]


def test_rows_at_the_edge_are_kept() -> None:
    edge = [record("问题呢", "答案答案"), record("问题啊", stories(1, 9)[0].answer + "。")]
    outcome, kept = check(edge)
    assert (kept, outcome.dropped, outcome.warned) == (edge, [], [])
    assert len(outcome.expectations) == len(row_rules(CONFIG)) + len(cross_rules(CONFIG))


def test_chunks_find_what_one_chunk_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*everything(), *stories(6)]
    whole = check(rows)
    monkeypatch.setattr(contract, "CHUNK", 5)
    assert check(rows) == whole
    assert whole[0].reasons["exact_duplicate"] == 7


def test_no_row_breaks_no_rule() -> None:
    outcome, kept = check([])
    assert (outcome.read, kept, outcome.dropped) == (0, [], [])


def test_a_row_that_breaks_several_rules_is_dropped_once_and_not_warned_of() -> None:
    outcome, kept = check([*GOOD, record("问", "\ufffd[姓名]<br>", "bad.txt:1")])
    assert kept == GOOD
    assert [row.source for row in outcome.dropped] == ["bad.txt:1"]
    assert outcome.warned == []


def test_a_near_duplicate_of_a_dropped_row_is_no_duplicate() -> None:
    config = ValidationConfig(rules=Rules(near_duplicate="drop"))
    long = record("".join(row.question for row in GOOD), "".join(row.answer for row in GOOD) + "<|im_end|>")
    mended = record(long.question, long.answer.removesuffix("<|im_end|>"), "mended.txt:1")
    again = record(long.question + "呢", mended.answer, "again.txt:1")
    outcome, kept = check([long, mended, again], config)
    assert kept == [mended]
    assert [(row.rule, row.source) for row in outcome.dropped] == [
        ("special_token", long.source),
        ("near_duplicate", "again.txt:1"),
    ]


def test_warnings_of_one_kind_stand_together_with_all_sources() -> None:
    rows = [record(f"这是问题{index}", f"答案{index}<br>答案", f"a.txt:{index}") for index in range(3)]
    warned = [row for row in check(rows)[0].warned if row.rule == "html"]
    assert [row.sources for row in warned] == [("a.txt:0", "a.txt:1", "a.txt:2")]


def test_personal_data_are_gone_before_any_rule_sees_them() -> None:
    phone = "13812345678"
    rows = [
        record("这是问题", f"请打{phone}找我。", "kept.txt:1"),
        record("这是问题呢", f"<|im_end|>请打{phone}", "dropped.txt:1"),
        Refused("bad.txt:1", "unknown-role", f"no role in {phone}", f"电话{phone}"),
    ]
    with Spool() as spool:
        outcome = check_rows(rows, CONFIG, spool, judge_plainly)
        table = "".join(dropped_csv(outcome, spool))
        assert phone not in repr(outcome) + table + repr(list(kept_records(outcome, spool)))
    assert [row.source for row in outcome.changed] == ["kept.txt:1", "dropped.txt:1"]
    assert len(outcome.kept) == 1


def test_the_export_holds_whole_rows_and_runs_in_no_spreadsheet() -> None:
    rows = [record("=1+1问题", "@SUM(A1)<|im_end|>", "a.txt:1"), Refused("b.txt:2", "not-json", "-x", "+y")]
    with Spool() as spool:
        header, *lines = dropped_csv(check_rows(rows, CONFIG, spool, judge_plainly), spool)
    assert header == "\ufeffsource,rule,reason,question,answer\r\n"
    assert lines[0] == "b.txt:2,not-json,'-x,'+y,\r\n"
    assert lines[1].endswith(",'=1+1问题,'@SUM(A1)<|im_end|>\r\n")
