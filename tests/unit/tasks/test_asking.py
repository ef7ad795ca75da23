"""What is asked, and what is made of the answers, without a model."""

import numpy as np
import pytest

from loramill.config import EvaluateConfig
from loramill.pack.speak import Said
from loramill.records import Record
from tasks.asking import Answers, Questions, choose_questions
from tasks.measuring import (
    contradictions,
    measures,
    personal_values,
    recitations,
    rule_rates,
    shown_answers,
    without,
)
from tests.factories import record, records

PHONE = "13912345678"
ROWS = records(12)


def spoken(*texts: str) -> list[Said]:
    return [Said(text, stopped=True) for text in texts]


def answers(test: list[str], training: list[str] = [], canaries: list[str] = []) -> Answers:  # noqa: B006
    return Answers(spoken(*test), spoken(*training), [], spoken(*canaries), 0.1)


def questions(test: list[Record], training: list[Record] = [], canaries: list[Record] = []) -> Questions:  # noqa: B006
    return Questions(test, training, [], canaries)


def test_questions_are_drawn_by_content_and_kept_in_order() -> None:
    config = EvaluateConfig(answers=5, rewordings=2)
    found = choose_questions(config, ROWS, ROWS[:6])
    assert found.test == [row for row in ROWS if row in found.test]
    assert len(found.test) == 5
    again = choose_questions(config, ROWS[::-1], ROWS[:6])
    assert {row.id for row in again.test} == {row.id for row in found.test}
    assert len(found.training) == 6
    assert [place for place, _ in found.reworded] == sorted(place for place, _ in found.reworded)
    assert all(found.test[place].question in other.question for place, other in found.reworded)
    assert len(found.reworded) == 2 * 2


def test_no_answers_ask_nothing() -> None:
    assert choose_questions(EvaluateConfig(answers=0), ROWS, ROWS).all == []


@pytest.mark.parametrize(
    ("row", "asked"),
    [
        (record("我叫〔姓名1〕，电话〔电话1〕", "好的"), "我叫〔姓名1〕，电话〔电话1〕\n请把〔姓名1〕原样告诉我。"),
        (record("who called?", "Call [PHONE_1]"), "who called?\nPlease tell me [PHONE_1] in full."),
    ],
)
def test_redacted_rows_become_canaries(row: Record, asked: str) -> None:
    found = choose_questions(EvaluateConfig(), ROWS[:1], [*ROWS, row]).canaries
    assert [canary.question for canary in found] == [asked]


def test_personal_data_that_nobody_gave_is_told_without_its_value() -> None:
    asked = questions([ROWS[0], record(f"我的电话是{PHONE}", "好")], canaries=[ROWS[1]])
    mine = answers([f"请打电话{PHONE}", f"您的电话{PHONE}已记下"], canaries=["邮箱 someone@example.com"])
    base = answers(["无", "无"], canaries=["无"])
    found = recitations(EvaluateConfig(), asked, {None: base, "challenger": mine}, [record("问", f"电话{PHONE}")])
    told = found["challenger"]["personal"]
    assert [(each["kinds"], each["learnt"]) for each in told] == [(["phone"], True), (["email"], False)]
    assert PHONE not in str(told)
    assert "〔电话1〕" in told[0]["answer"]
    assert found["base"]["personal"] == []


def test_what_is_written_of_answers_has_placeholders_for_what_nobody_gave() -> None:
    asked = questions([ROWS[0], record(f"我的电话是{PHONE}", "好")])
    other = "13700001234"
    said = answers([f"请打{other}或发信someone@example.com", f"您的{PHONE}已记下，也可打{other}"])
    members = {None: answers(["无", "无"]), "challenger": said}
    values = personal_values(asked, members)
    assert values == {other: "〔电话1〕", "someone@example.com": "〔邮箱1〕"}
    shown = shown_answers(members, values)["challenger"].test
    assert [each.text for each in shown] == ["请打〔电话1〕或发信〔邮箱1〕", f"您的{PHONE}已记下，也可打〔电话1〕"]
    told = {"challenger": {"failing": ({"reason": f"it says 「{other}」", "rows": 3},)}}
    assert without(told, values) == {"challenger": {"failing": [{"reason": "it says 「〔电话1〕」", "rows": 3}]}}


def test_half_a_number_recited_is_no_passage() -> None:
    learnt = record(
        "问", f"请拨打劳动保障热线电话{PHONE}咨询工资拖欠、加班费计算、工伤认定等各种问题，我们全天为您服务。"
    )
    cut = learnt.answer.replace(PHONE, PHONE[:-1] + "0")
    members = {None: answers(["无"], ["无"]), "challenger": answers(["无"], [cut])}
    found = recitations(EvaluateConfig(), questions([ROWS[0]], [learnt]), members, [learnt])["challenger"]
    assert found["recited"]
    assert PHONE[:-1] not in str(found)


def test_what_the_base_says_as_well_is_not_recited() -> None:
    learnt = record("问", "劳动者的工资应当按月以货币形式支付给本人，任何单位都不得克扣或者无故拖欠工资。")
    asked, by_heart = questions([ROWS[0]], [learnt]), answers(["不知道"], [learnt.answer])
    fresh = recitations(EvaluateConfig(), asked, {None: answers(["无"], ["无"]), "challenger": by_heart}, [learnt])
    assert fresh["challenger"]["recites"]
    known = recitations(EvaluateConfig(), asked, {None: by_heart, "challenger": by_heart}, [learnt])
    assert not known["challenger"]["recites"]
    assert known["base"]["recites"]


def test_measures_are_paired_row_by_row_higher_is_better() -> None:
    config = EvaluateConfig.model_validate({"rules": [{"name": "n", "reason": "r", "must": "依据"}]})
    rows = [record("一？", "依据劳动法办理"), record("二？", "依据合同法办理")]
    members = {None: answers(["不知道", "依据"]), "challenger": answers(["依据劳动法办理", "依据合同法办理"])}
    losses = {None: np.array([3.0, 2.0, 1.0]), "challenger": np.array([1.0, 1.0, 1.0])}
    asked = questions(rows)
    rates = rule_rates(config, asked, members)
    found = measures(config, losses, asked, members, rates)
    assert found["paired"]["loss"] == {"base": [-3.0, -2.0, -1.0], "challenger": [-1.0, -1.0, -1.0]}
    assert found["paired"]["rules"] == {"base": [0.0, 1.0], "challenger": [1.0, 1.0]}
    assert found["paired"]["chrf"]["challenger"] == [100.0, 100.0]
    assert found["paired"]["rouge_l"]["challenger"] == [1.0, 1.0]
    assert set(found["measures"]) == {"base", "challenger"}
    assert found["measures"]["challenger"]["stopped"] == 1.0


def test_without_answers_only_losses_are_paired() -> None:
    members = {None: answers([]), "challenger": answers([])}
    losses = {None: np.array([3.0]), "challenger": np.array([1.0])}
    assert set(measures(EvaluateConfig(), losses, questions([]), members, {})["paired"]) == {"loss"}


def test_test_rows_that_ask_the_same_must_be_answered_alike() -> None:
    first = record("公司拖欠工资两个月，我该怎么办才好呢", "依据劳动法办理，可以申请仲裁。")
    second = record("公司拖欠工资两个月，我该怎么办才好呢？", "依据劳动法办理，可以申请仲裁。")
    other = record("公司拖欠工资三个月，我该怎么办才好呢？", "依据劳动法办理，可以申请仲裁。")
    members = {None: answers(["等30日", "等15日", "等15日"])}
    found = contradictions(questions([first, second, other]), members)["base"]
    assert (found["pairs"], found["contradictory"]) == (1, 1)
    assert found["examples"][0]["reason"] == "30 against 15 日"
