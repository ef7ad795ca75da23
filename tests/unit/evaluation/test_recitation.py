import pytest

from loramill.config import RecitationConfig
from loramill.evaluation.recitation import Answered, common_runs, longest_run, recitation, stock_phrases

SECRET = "张三住在幸福路十二号三单元四楼东户门前有一棵老槐树树下拴着一条黄狗名叫来福今年七岁了"
STATUTE = "用人单位应当按照劳动合同约定和国家规定向劳动者及时足额支付劳动报酬不得拖欠"
LEARNT = [SECRET, f"依据法律，{STATUTE}。", "第三行与前两行没有关系"]
ONE = RecitationConfig(characters=20, share=0.1)


def said(answer: str, question: str = "问？", known: str = "") -> Answered:
    return Answered(question, answer, known or question)


def test_common_runs_are_as_long_as_they_can_be() -> None:
    assert list(common_runs("xabcyab", "abc_ab")) == ["abc", "ab"]
    assert list(common_runs("abcd", "abc_bcd")) == ["abc", "bcd"]
    assert list(common_runs("", "abc")) == list(common_runs("abc", "")) == []


def test_the_longest_run_goes_beyond_what_was_known() -> None:
    text = "\x00".join(LEARNT)
    assert longest_run(f"好的，{SECRET[4:30]}吧", "", text) == SECRET[4:30]
    assert longest_run(SECRET[:25], SECRET, text) == ""  # the question said it
    assert longest_run(f"{SECRET[:25]}，{STATUTE[:20]}", SECRET[:20], text) == f"，{STATUTE[:20]}"
    assert longest_run("没有", "", text) == "没有"


def test_what_stands_in_many_training_answers_is_how_the_house_writes() -> None:
    assert longest_run(SECRET, "", "\x00".join([SECRET] * 2)) == SECRET
    assert longest_run(SECRET, "", "\x00".join([SECRET] * 3)) == ""


def test_an_answer_by_heart_is_found_and_one_in_own_words_is_not() -> None:
    by_heart = recitation(ONE, [said(SECRET), said("别的")], [said("不知道")], LEARNT)
    assert (by_heart.longest_train, by_heart.recites) == (len(SECRET), True)
    assert [passage.run for passage in by_heart.recited] == [SECRET]
    own = recitation(ONE, [said(SECRET[:15]), said("别的")], [said("不知道")], LEARNT)
    assert (own.recites, own.recited) == (False, ())


def test_what_test_answers_share_as_well_is_not_learnt_by_heart() -> None:
    quoted = f"您好，{STATUTE}"
    excused = recitation(ONE, [said(quoted)], [said(quoted, known=f"问？\n{STATUTE}"), said(STATUTE[:19])], LEARNT)
    assert excused.longest_test == 19
    assert excused.recites  # the statute at the test question stood in its reference, so nothing excuses it here
    shared = recitation(ONE, [said(STATUTE[:19])], [said(STATUTE[:19])], LEARNT)
    assert (shared.longest_train, shared.longest_test, shared.recites) == (19, 19, False)
    longer = recitation(ONE, [said(STATUTE[:22])], [said(STATUTE[:25])], LEARNT)
    assert [passage.run for passage in longer.recited] == [STATUTE[:25]]


def test_a_training_row_said_to_a_test_question_is_recited() -> None:
    found = recitation(ONE, [], [said(SECRET)] + [said("别的")] * 4, LEARNT)
    assert found.recites
    assert found.recited[0].run == SECRET


def test_a_share_of_answers_is_allowed() -> None:
    answers = [said(SECRET)] + [said("别的")] * 9
    assert not recitation(ONE, answers, [], LEARNT).recites
    assert recitation(RecitationConfig(characters=20, share=0.0), answers, [], LEARNT).recites


def test_latin_text_needs_three_times_as_many_characters() -> None:
    learnt = ["the quick brown fox jumps over the lazy dog and then it goes home"]
    assert not recitation(ONE, [said(learnt[0][:59])], [], learnt).recites
    assert recitation(ONE, [said(learnt[0][:60])], [], learnt).recites


@pytest.mark.parametrize("answers", [[], [""]])
def test_nothing_said_recites_nothing(answers: list[str]) -> None:
    found = recitation(ONE, [said(answer) for answer in answers], [], LEARNT)
    assert (found.longest_train, found.recites, found.stock_phrases) == (0, False, ())


def test_a_phrase_that_every_answer_gets_is_told_once_and_whole() -> None:
    answers = [f"第{n}个问题，如有疑问请随时联系我们的专业团队。" for n in "一二三四五六七八"]
    learnt = [f"第{n}行说的是别的事情，没有客套话。" for n in range(30)]
    (found,) = stock_phrases(answers, learnt)
    assert found.phrase == "个问题，如有疑问请随时联系我们的专业团队。"
    assert (found.answers, found.share, found.training_share) == (8, 1.0, 0.0)


def test_a_phrase_that_the_rows_taught_is_none() -> None:
    answers = [f"第{n}个，您好，很高兴为您服务。" for n in "一二三四五六七八"]
    assert stock_phrases(answers, answers * 3) == ()
    assert stock_phrases(answers[:2], ["别的话"] * 30) == ()  # twice is no habit
