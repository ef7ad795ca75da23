"""The real Great Expectations says what the plain judge says: importing it costs some seconds, so it is asked once, here."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest

from loramill.data import contract
from loramill.data.contract import Outcome, build_data_docs, check_rows
from loramill.data.expectations import Judges, Rule, cross_rules, judge_plainly, open_judge, row_rules
from loramill.data.spool import Spool
from loramill.records import Record
from tests.factories import record
from tests.unit.data.test_expectations import CONFIG, everything
from tests.unit.helpers import stories


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations  # noqa: F401 - its import warns


def outcome(rows: Sequence[Record], judges: Judges) -> Outcome:
    with Spool() as spool:
        return check_rows(rows, CONFIG, spool, judges)


def test_both_judges_say_the_same_of_a_row_for_every_rule() -> None:
    rows = [*everything(), record("问", "答"), record("问题", "答" * 51)]
    assert outcome(rows, open_judge) == outcome(rows, judge_plainly)


def test_chunks_find_what_one_chunk_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [*everything(), *stories(6)]
    whole = outcome(rows, judge_plainly)
    monkeypatch.setattr(contract, "CHUNK", 10)
    assert outcome(rows, open_judge) == whole


def test_no_row_breaks_no_rule() -> None:
    assert outcome([], open_judge) == outcome([], judge_plainly)


@pytest.mark.parametrize("rules", [row_rules(CONFIG), cross_rules(CONFIG)])
def test_both_judges_agree_at_the_limits_and_on_what_is_missing(rules: list[Rule]) -> None:
    values: list[float | None] = [
        None,
        *(limit + step for rule in rules for limit in rule.limits.values() for step in (-1, 0, 1)),
    ]
    facts = [
        {"place": place, **{rule.column: value if rule.limits else value and str(value) for rule in rules}}
        for place, value in enumerate(values)
    ]
    assert judge_plainly(rules)(facts) == open_judge(rules)(facts)


def test_a_judge_without_rules_judges_nothing() -> None:
    assert open_judge([])([{"place": 0}]) == []


def test_data_docs_are_pages_in_the_folder_that_was_named(tmp_path: Path) -> None:
    page = build_data_docs(everything(), CONFIG, tmp_path / "docs")
    assert page.is_file()
    assert page.is_relative_to(tmp_path / "docs")
    pages = "".join(path.read_text(encoding="utf-8") for path in page.parent.rglob("*.html"))
    assert "special_token" in pages
