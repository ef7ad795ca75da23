import pytest

from loramill.data.agreement import disagreement, number, same_numbers

DISAGREE = [
    (
        "试用期最长多久？",
        "试用期最长不超过六个月，具体看合同期限。",
        "试用期最长不超过3个月，具体看合同期限。",
        "6 against 3 个月",
    ),
    ("加班费怎么算？", "按工资的150%支付。", "按工资的200%支付。", "150 against 200 %"),
    (
        "依据是什么？",
        "依据《劳动法》第四十四条支付。",
        "根据《中华人民共和国劳动法》第三十六条支付。",
        "《劳动法》 article 44 against 36",
    ),
    ("公司可以不发工资吗？", "不可以，工资必须按时发。", "可以，双方说好就行。", "yes against no"),
    ("Can I return it?", "No, it was opened.", "Yes, within a week.", "yes against no"),
    (
        "怎么退货？",
        "在订单页点申请售后再选退货原因然后提交就好了。",
        "Please send an e-mail to the shop and wait for them.",
        "hardly a word",
    ),
]
AGREE = [
    ("试用期最长多久？", "最长六个月。", "最长6个月，合同三年以上的才行。"),
    ("依据是什么？", "《劳动法》第四十四条、第四十五条。", "《劳动法》第四十四条。"),
    ("公司可以不发工资吗？", "不可以，要按时发。", "不行，这是违法的。"),
    ("怎么办？", "可以申请仲裁。", "不要着急，先收集证据。"),
    ("几天发货？", "2日内发货。", "48小时内发货。"),
    ("仲裁时效多久？", "一年，《调解仲裁法》第二十七条。", "1年，《劳动法》第八十二条另有说法。"),
]


@pytest.mark.parametrize(("question", "first", "second", "why"), DISAGREE, ids=[row[3] for row in DISAGREE])
def test_answers_disagree(question: str, first: str, second: str, why: str) -> None:
    assert why in str(disagreement(question, first, second))


@pytest.mark.parametrize(("question", "first", "second"), AGREE, ids=[row[1] for row in AGREE])
def test_answers_that_say_it_in_another_way_agree(question: str, first: str, second: str) -> None:
    assert disagreement(question, first, second) is None


def test_other_figures_make_another_question() -> None:
    assert same_numbers("欠薪3000元怎么办", "欠薪 3000 元，怎么办？")
    assert not same_numbers("欠薪3000元怎么办", "欠薪5000元怎么办")
    assert not same_numbers("试用期三个月合法吗", "试用期六个月合法吗")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("十", 10),
        ("十五", 15),
        ("二十", 20),
        ("两", 2),
        ("一百零八", 108),
        ("三千五百", 3500),
        ("两万", 20000),
        ("1,200.5", 1200.5),
    ],
)
def test_numbers_are_read(text: str, value: float) -> None:
    assert number(text) == value
