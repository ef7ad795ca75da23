from loramill.data.agreement import disagreement
from loramill.evaluation.paraphrases import EXAMPLES, Pair, contradictions, reworded
from loramill.records import Record
from tests.factories import record


def test_a_question_is_asked_again_in_its_own_language() -> None:
    chinese = reworded(record("试用期多久？", "答"))
    english = reworded(record("How long is {question} probation?", "answer"))
    assert [row.question for row in chinese] == ["您好，想请教一下：试用期多久？", "试用期多久？麻烦您说说，谢谢！"]
    assert english[0].question == "Hello, I would like to ask you something: How long is {question} probation?"
    assert {row.answer for row in chinese} == {"答"}


def test_only_the_last_question_of_a_conversation_is_reworded() -> None:
    first = record("第一问？", "第一答")
    row = Record((*first.messages, *record("第二问？", "第二答").messages), "f:1")
    again = reworded(row)[0]
    assert again.messages[:2] == first.messages
    assert [message.role for message in again.messages] == ["user", "assistant", "user", "assistant"]
    assert again.asked[-1].content.endswith("第二问？")


def test_answers_that_do_not_agree_are_counted_and_a_few_quoted() -> None:
    agreeing = Pair("能退吗？", "可以，七天内能退。", "可以退，七天之内。")
    against = Pair("能退吗？", "可以，七天内能退。", "不可以，三天内才行。")
    found = contradictions([agreeing, *[against] * 8], disagreement)
    assert (found.pairs, found.contradictory, len(found.examples)) == (9, 8, EXAMPLES)
    assert found.examples[0].reason


def test_silence_does_not_contradict_itself() -> None:
    assert contradictions([Pair("能退吗？", "", "")], disagreement).contradictory == 0
