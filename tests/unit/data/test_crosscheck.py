import pytest

from loramill.config import Rules, ValidationConfig
from loramill.data.crosscheck import Relations, relate
from loramill.data.spool import Spool
from loramill.records import Message, Record
from tests.factories import record
from tests.unit.helpers import conversation, stories

CONFIG = ValidationConfig()
QUESTION = "公司已经连续三个月没有给我们发工资了，老板一直说周转困难，我们应该怎么办才能拿回自己的钱？"
ANSWER = (
    "依据《劳动合同法》第三十条，您可以向劳动监察大队投诉，也可以申请劳动仲裁要求公司支付拖欠的全部工资，时效为一年。"
)


def relations(rows: list[Record], config: ValidationConfig = CONFIG) -> Relations:
    with Spool() as spool:
        for row in rows:
            spool.add(row)
        return relate(spool, range(len(rows)), config)


def test_the_later_of_two_rows_that_say_nearly_the_same_is_found_with_its_first() -> None:
    again = record(QUESTION.replace("，老板", " 老板"), ANSWER.replace("全部", ""), "again.txt:9")
    found = relations([*stories(4), record(QUESTION, ANSWER, "first.txt:1"), *stories(4, 4), again])
    assert {place: finding.others for place, finding in found.near_duplicate.items()} == {9: (4,)}
    assert found.near_duplicate[9].reason == "nearly the same row as first.txt:1"
    assert (found.contradiction, found.same_answer) == ({}, {})


def test_another_answer_to_the_same_question_is_a_contradiction_that_names_all_its_rows() -> None:
    rows = [
        record(QUESTION, ANSWER, "a.txt:1"),
        *stories(3),
        record(QUESTION, ANSWER.replace("一年", "两年"), "b.txt:2"),
    ]
    found = relations(rows)
    assert found.contradiction[4].others == (0,)
    assert "a.txt:1 and b.txt:2 (1 against 2 年)" in found.contradiction[4].reason
    assert found.near_duplicate == {}


def test_another_figure_in_the_question_makes_it_another_question() -> None:
    other = record(QUESTION.replace("三个月", "五个月"), ANSWER.replace("一年", "两年"))
    assert relations([record(QUESTION, ANSWER), other]) == Relations()


def test_the_same_last_turn_after_another_conversation_is_another_question() -> None:
    rows = [conversation(QUESTION, ANSWER, "好的，那还要注意什么呢", "请保留工资条和考勤记录，一共六个月。")]
    rows.append(
        conversation("快递三天没到怎么办", "我帮您催一下", "好的，那还要注意什么呢", "请保持电话畅通，一共两个月。")
    )
    assert relations(rows) == Relations()


def test_another_system_prompt_may_have_another_answer() -> None:
    rows = [
        Record((Message("system", said), Message("user", QUESTION), Message("assistant", answer)), said)
        for said, answer in (("你是律师", ANSWER), ("你是会计", ANSWER.replace("一年", "两年")))
    ]
    assert relations(rows).contradiction == {}


def test_an_instruction_above_every_question_makes_them_no_more_alike() -> None:
    task = "确定以下咨询的类别，每个咨询仅属于一个类别，将答案写在方括号之间，请严格按照这个格式回答，不要解释。\n"
    rows = [record(task + row.question[:12], f"{row.answer} {index}天") for index, row in enumerate(stories(40))]
    assert relations(rows) == Relations()


def test_one_question_asked_often_is_one_finding_and_takes_no_time() -> None:
    rows = [record(QUESTION, f"{row.answer} 时效{index}年") for index, row in enumerate(stories(300))]
    found = relations(rows).contradiction
    assert len({finding.reason for finding in found.values()}) == 1
    assert "more pairs" in found[1].reason


def test_the_same_answer_to_many_questions_is_found_from_the_given_number_on() -> None:
    rows = [record(row.question, ANSWER, f"{index}") for index, row in enumerate(stories(3))]
    assert set(relations(rows).same_answer) == {1, 2}
    assert "3 different questions" in relations(rows).same_answer[1].reason
    assert relations(rows[:2]).same_answer == {}
    assert relations([record(row.question, "好的，可以。") for row in stories(5)]).same_answer == {}


@pytest.mark.parametrize("rule", ["near_duplicate", "contradiction", "same_answer"])
def test_a_rule_that_is_off_is_not_judged(rule: str) -> None:
    from loramill.data.expectations import cross_rules

    config = ValidationConfig(rules=Rules.model_validate({rule: "off"}))
    assert rule not in [found.name for found in cross_rules(config)]
    assert len(cross_rules(config)) == 2


def test_a_spool_gives_back_what_it_took(tmp_path: object) -> None:
    rows = stories(50)
    with Spool() as spool:
        for row in rows:
            spool.add(row)
        assert spool[7] == rows[7]
        assert [[place for place, _ in chunk] for chunk in spool.chunks(range(5), 2)] == [[0, 1], [2, 3], [4]]
        assert [row for chunk in spool.chunks(range(50), 20) for _, row in chunk] == rows
