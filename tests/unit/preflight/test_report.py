"""The plan and the two views, on the tiny base."""

import re
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from loramill.config import Base, LearningConfig, Plan, SearchConfig, Settings, TrainConfig
from loramill.pack.facts import BaseFacts, read_facts
from loramill.preflight.forecast import Speed
from loramill.preflight.page import page
from loramill.preflight.report import Report, rows_to_show
from loramill.preflight.run import Past, Rows, preflight
from loramill.preflight.spell import Speller
from loramill.preflight.view import show
from loramill.prompts import encode
from loramill.records import Record
from tests.factories import record, records

EVIL = record("<script>alert(1)</script> \u202e 𠮷 <|im_end|>", '答案在此 & "more"', "evil<b>.txt:1")
PLAN = Plan(
    learning=LearningConfig(batch=4),
    search=SearchConfig(trials=6, pack=3, epochs=2),
    train=TrainConfig(epochs=5),
)
MEASURED = Speed(1000.0, 0.0, "cpu")
NONE = Past()


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> BaseFacts:
    return read_facts(Base(source=str(tiny_folder)))


def report(
    base: BaseFacts, rows: list[Record], speed: Speed = MEASURED, past: Past = NONE, plan: Plan = PLAN
) -> Report:
    parts = {"train": rows[:9], "validation": rows[9:12], "test": rows[12:]}
    return preflight("law", plan, base, Rows(rows, parts, listed=2), past, speed)


def shown(found: Report, rows: int = 3) -> str:
    console = Console(file=StringIO(), width=100, color_system=None)
    show(found, 0.05, rows, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_the_plan_counts_what_the_run_will_do(base: BaseFacts) -> None:
    rows = records(20)
    plan = report(base, rows).forecast
    assert plan is not None
    lengths = [len(encode(base.tokenizer, row, {}, 10**6)[0].ids) for row in rows]
    assert plan.rows == {"train": 9, "validation": 3, "test": 8}
    assert plan.row.total == sum(lengths)
    assert plan.row.longest == max(lengths)
    assert plan.prompt.total + plan.answer.total == plan.row.total
    assert (plan.train.steps, plan.search.steps) == (5 * 3, 6 * 2 * 3)
    assert plan.train.tokens == 5 * sum(lengths[:9])
    assert plan.train.seconds == pytest.approx((5 * sum(lengths[:9]) + 6 * sum(lengths[9:12]) / 2) / 1000)
    assert plan.search.memory is not None
    assert plan.train.memory is not None
    assert plan.search.memory.total > plan.train.memory.total


def test_minutes_follow_from_the_machine_where_nothing_was_measured(base: BaseFacts) -> None:
    slow, fast = (report(base, records(20), Speed(None, flops, "cpu")).forecast for flops in (1e9, 2e9))
    assert slow is not None
    assert fast is not None
    assert slow.train.seconds == pytest.approx(2 * (fast.train.seconds or 0))


def test_a_plan_without_a_search_or_a_known_shape_is_still_a_plan(base: BaseFacts) -> None:
    plan = report(replace(base, config={}), records(20), plan=Plan(search=SearchConfig(trials=0))).forecast
    assert plan is not None
    assert (plan.search.steps, plan.search.memory, plan.train.memory) == (0, None, None)


def test_folds_and_repeats_are_trainings_too(base: BaseFacts) -> None:
    search = PLAN.search.model_copy(update={"folds": 4, "repeats": 2, "rank": (4, 8), "epoch_choices": (1, 3)})
    rows = records(20)
    plan = report(base, rows, plan=PLAN.model_copy(update={"search": search})).forecast
    assert plan is not None
    runs = (6 + 2 * (2 + 1)) * 4
    tokens = sum(len(encode(base.tokenizer, row, {}, 10**6)[0].ids) for row in rows[:12])
    assert plan.search.steps == runs * 3 * 3  # three epochs of nine of the twelve rows, four at once
    assert plan.search.tokens == runs * 3 * tokens * 3 / 4
    assert plan.search.seconds == pytest.approx(runs * (3 * tokens * 3 / 4 + 4 * tokens / 4 / 2) / 1000)
    assert plan.train.steps == 3 * 3  # the search may find that three epochs are best


def test_an_earlier_search_says_what_is_trained(base: BaseFacts) -> None:
    found = Past(settings=Settings(rank=2, epochs=2))
    small, large = (report(base, records(20), past=past).forecast for past in (found, NONE))
    assert small is not None
    assert large is not None
    assert small.train.steps == 2 * 3
    assert small.train.memory is not None
    assert large.train.memory is not None
    assert small.train.memory.adapters * 8 == large.train.memory.adapters


def test_the_test_rows_say_what_they_can_prove(base: BaseFacts) -> None:
    proof = report(base, records(22), past=Past(spread=0.5)).proof
    assert proof.rows == 10
    assert proof.gain == pytest.approx(0.5 * proof.deviations)
    assert "4 test rows can prove nothing" in shown(report(base, records(16)))


def test_pieces_are_the_text_and_a_character_of_many_tokens_is_one(base: BaseFacts) -> None:
    (row,) = encode(base.tokenizer, record("𠮷野家？", "是 a b。"), {}, 10**6)
    pieces = Speller(base.tokenizer)(row)
    assert "".join(piece.text for piece in pieces) == base.tokenizer.decode(row.ids)
    assert tuple(index for piece in pieces for index in piece.ids) == row.ids
    (rare,) = [piece for piece in pieces if piece.text == "𠮷"]
    assert len(rare.ids) == 4
    assert [piece.kind for piece in pieces].count("stop") == 1
    assert pieces[-1].kind == "stop"
    assert {piece.text for piece in pieces if piece.kind == "control"} == {"<|im_start|>", "<|im_end|>"}


def test_the_terminal_shows_rows_plan_and_verdict(base: BaseFacts) -> None:
    text = shown(report(base, records(20)))
    assert "9 train, 3 validation, 8 test" in text
    assert "ready: every row ends with the stop token" in text
    assert text.count("<|im_start|>assistant") == 4  # the first three and the longest


def test_the_terminal_shows_every_rule_that_stops(base: BaseFacts) -> None:
    found = report(base, [*records(20), EVIL])
    text = shown(found, rows=0)
    assert not found.is_ready
    assert "not ready: 1 of 21 rows must be mended first" in text
    assert "control" in text
    assert "\u202e" not in text


def test_rows_to_show_are_the_first_the_longest_and_the_broken(base: BaseFacts) -> None:
    found = report(base, [*records(20), EVIL])
    sources = [one.record.source for one in rows_to_show(found.checked, 2)]
    longest = max(found.checked[:20], key=lambda one: len(one.rows[0].ids)).record.source
    assert sources == list(dict.fromkeys(["file.txt:0", "file.txt:1", longest, "evil<b>.txt:1"]))


def test_the_page_escapes_everything_and_loads_nothing(base: BaseFacts) -> None:
    found = report(base, [*records(20), EVIL])
    text = page(found, 0.05)
    assert "<script>alert" not in text
    assert "&lt;script&gt;" in re.sub(r"</?i[^>]*>", "", text)
    assert "evil<b>" not in text
    assert "\u202e" not in text
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(""", text)
    assert "还不能训练" in text
    assert "Not ready" in text


def test_the_page_carries_every_row_and_every_token_id(base: BaseFacts) -> None:
    rows = records(20)
    text = page(report(base, rows), 0.05)
    assert text.count('<div class="row"') == 20
    (row,) = encode(base.tokenizer, rows[0], {}, 10**6)
    first = text.split('<div class="row"')[1].split("</div>")[0]
    assert [int(index) for ids in re.findall(r'data-i="([\d ]+)"', first) for index in ids.split()] == list(row.ids)
    assert "<span class=s>" in first


def test_many_rows_make_no_endless_page(base: BaseFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loramill.preflight.page.ROWS", 30)
    text = page(report(base, records(33)), 0.05)
    assert text.count('<div class="row"') == 30
    assert "30 of 33 rows are spelt out here" in text


def test_machines_get_facts_without_any_text_of_rows(base: BaseFacts) -> None:
    facts = report(base, records(20)).facts()
    assert facts["ready"] is True
    assert (facts["records"], facts["dropped_by_contract"]) == (20, 2)
    assert facts["train"]["steps"] == 15
    assert "劳动法" not in str(facts)


def test_too_few_rows_stop_with_the_reason_of_the_split(base: BaseFacts) -> None:
    rows = records(12)
    found = preflight("law", PLAN, base, Rows(rows, {}, problem="write 20 more rows"), NONE, MEASURED)
    assert not found.is_ready
    assert found.forecast is None
    assert "write 20 more rows" in shown(found)
    assert "write 20 more rows" in page(found, 0.05)


def test_a_base_without_template_is_told_once_and_not_per_row(base: BaseFacts, tiny_folder: Path) -> None:
    other = read_facts(Base(source=str(tiny_folder)))
    other.tokenizer.chat_template = None
    found = report(other, records(20))
    assert [problem.rule for problem in found.problems] == ["no-template"]
    assert "not ready: the base must be mended first" in shown(found)
    assert "底座没有对话模板" in page(found, 0.05)
