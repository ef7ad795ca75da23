import json
import time
from pathlib import Path

import pytest

from loramill.config import AnswerRule, load_articles, load_plan
from loramill.evaluation.rules import Rates, interval, make_check, rate
from loramill.records import Record
from tests.copies import sample_rows
from tests.factories import record

TABLE = {"劳动法": frozenset({"1", "2"})}


def rule(name: str = "r", **fields: object) -> AnswerRule:
    return AnswerRule.model_validate({"name": name, "reason": "because"} | fields)


def held(rules: list[AnswerRule], *answers: str, question: str = "我的单号 SF1234567890 到哪了？") -> Rates:
    rows = [record(question, "reference") for _ in answers]
    return rate([make_check(each, TABLE) for each in rules], rows, list(answers))


@pytest.mark.parametrize(
    ("fields", "answer", "said"),
    [
        ({"must": "依据"}, "依据法律", None),
        ({"must": "依据"}, "法律说", "because (it is missing)"),
        ({"must": ["依据", "/^根据《/"]}, "根据《劳动法》", None),
        ({"must": "a.c"}, "abc", "because (it is missing)"),  # words are words
        ({"must": "/a.c/"}, "ABC", None),
        ({"must": "抱歉", "before": "原因"}, "抱歉，原因是", None),
        ({"must": "抱歉", "before": "原因"}, "原因是，抱歉", "because (it comes too late)"),
        ({"must": "抱歉", "before": "原因"}, "抱歉", None),
        ({"must_not": ["包赢", "/百分之\\w/"]}, "百分之百", "because (it says 「百分之百」)"),
        ({"must_not": "包赢"}, "打包赢得", "because (it says 「包赢」)"),
        ({"from_question": "/[A-Z]{2}\\d{8,}/"}, "单号 SF1234567890 已签收", None),
        (
            {"from_question": "/[A-Z]{2}\\d{8,}/"},
            "单号 SF9999999999 已签收",
            "because (nobody said 「SF9999999999」)",
        ),
        ({"cites": "laws.yaml"}, "《劳动法》第二条", None),
        ({"cites": "laws.yaml"}, "《劳动法》第三条", "because (not in laws.yaml: 「《劳动法》第三条」)"),
        ({"when": "退货", "must": "抱歉"}, "不", None),
        ({"when": ["退货", "单号"], "must": "抱歉"}, "不", "because (it is missing)"),
    ],
)
def test_a_rule_holds_or_says_why_not(fields: dict[str, object], answer: str, said: str | None) -> None:
    found = held([rule(**fields)], answer)
    assert [failure.reason for failure in found.failing] == ([said] if said else [])
    assert found.pass_rate == (0.0 if said else 1.0)


def test_rates_count_rows_and_shares_count_weights() -> None:
    rules = [rule("a", must="一", weight=3.0), rule("b", must="二"), rule("c", must="三", when="退货")]
    found = held(rules, "一二", "一", "二", "")
    assert (found.pass_rate, found.shares) == (0.25, (1.0, 0.75, 0.25, 0.0))
    assert [(each.rule, each.passed, each.rows) for each in found.by_rule] == [("a", 2, 4), ("b", 2, 4), ("c", 0, 0)]
    assert [(each.rule, each.answer) for each in found.failing] == [("b", "一"), ("a", "二"), ("a", ""), ("b", "")]
    assert "shares" not in found.told()


def test_a_rule_that_concerns_no_row_is_kept_by_all() -> None:
    found = held([rule(must="三", when="退货")], "一")
    assert (found.pass_rate, found.shares) == (1.0, (1.0,))
    assert (found.by_rule[0].low, found.by_rule[0].high) == (0.0, 1.0)


def test_without_answers_or_rules_there_is_no_rate() -> None:
    assert held([rule(must="一")]).pass_rate is None
    assert held([], "一").pass_rate is None


def test_an_interval_is_exact_and_never_empty() -> None:
    assert interval(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1.0)
    low, high = interval(3, 10)
    assert low < 0.3 < high


def test_what_the_whole_conversation_said_is_not_invented() -> None:
    first = record("订单 12345678", "好的")
    row = Record((*first.messages, *record("到了吗？", "参考").messages), "f:1")
    found = rate([make_check(rule(from_question="/\\d{8}/"), {})], [row], ["订单 12345678 到了"])
    assert found.pass_rate == 1.0


def test_a_pattern_that_would_run_for_ever_is_broken_there_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loramill.evaluation.rules.SECONDS", 0.05)
    start = time.perf_counter()
    found = held([rule(must="/(?:a|aa|a\\w)+$/")], "a" * 60 + "！")
    assert time.perf_counter() - start < 2.0
    assert found.failing[0].reason == "a pattern took longer than 0.05 s here: simplify the rule"


@pytest.mark.parametrize(("domain", "least"), [("law", 1.0), ("customer-service", 0.95)])
def test_the_answers_that_people_wrote_keep_our_rules(root: Path, domain: str, least: float) -> None:
    checks = [
        make_check(each, load_articles(root / each.cites) if each.cites else {})
        for each in load_plan(root / f"conf/{domain}.yaml").evaluate.rules
    ]
    assert checks
    if domain == "law":
        rows = [record(question, answer) for question, answer in sample_rows(root, 400).items()]
    else:
        lines = "".join(file.read_text(encoding="utf-8") for file in sorted((root / f"data/{domain}").iterdir()))
        told = [json.loads(line) for line in lines.splitlines()]
        rows = [record(row["instruction"], row["output"]) for row in told]
    assert len(rows) >= 200
    found = rate(checks, rows, [row.answer for row in rows])
    assert found.pass_rate is not None
    assert found.pass_rate >= least, found.failing
    assert all(each.rows for each in found.by_rule)


@pytest.mark.parametrize(
    ("domain", "question", "answer", "broken"),
    [
        ("law", "怎么办？", "单位应当支付。", "opens with the statute"),
        ("law", "怎么办？", "依据《劳动合同法》第一百九十条，应当支付。", "cites what exists"),
        ("law", "怎么办？", "依据《劳动法》第三条，参见（2023）京01民终123号判决。", "no invented case"),
        ("law", "怎么办？", "依据《劳动法》第三条，一定能赢。", "no promise of the outcome"),
        ("customer-service", "骗人！！还不发货", "因为仓库缺货，抱歉让您久等。", "apology before explanation"),
        ("customer-service", "到哪了？", "您好，运单 SF1029384756 已签收。", "no invented order"),
        ("customer-service", "几天到？", "您放心，肯定能到。", "no promise that the shop cannot keep"),
    ],
)
def test_our_rules_find_what_they_are_there_for(
    root: Path, domain: str, question: str, answer: str, broken: str
) -> None:
    rules = load_plan(root / f"conf/{domain}.yaml").evaluate.rules
    checks = [make_check(each, load_articles(root / each.cites) if each.cites else {}) for each in rules]
    found = rate(checks, [record(question, "参考")], [answer])
    assert [failure.rule for failure in found.failing] == [broken]
