"""Each sign finds its planted row and spares the good one that looks like it."""

from collections.abc import Callable

import pytest

from loramill.config import ValidationConfig
from loramill.data import quality
from loramill.data.usual import Tally, Usual, cut_off, script_of, wrong_language

NOTHING_USUAL = Usual(script=None, is_closed=False, cap=None)
PROSE = "依据《劳动合同法》第三十条，用人单位应当按照约定及时足额支付劳动报酬。"

FOUND: list[tuple[Callable[[str], object], str]] = [
    (lambda text: quality.placeholder("问", text), "尊敬的{{name}}，您好"),
    (lambda text: quality.placeholder("问", text), "答案：\nTODO"),
    (lambda text: quality.placeholder("问", text), "详情待补充。"),
    (lambda text: quality.placeholder("问", text), "<your answer here>"),
    (lambda text: quality.placeholder("问", text), "Lorem ipsum".lower()),
    (lambda text: quality.placeholder(text, PROSE), "请把{{question}}说清楚"),
    (quality.slot, "我是{name}，很高兴为您服务"),
    (quality.slot, "我是{姓名}，很高兴为您服务"),
    (quality.slot, "尊敬的[姓名]先生"),
    (quality.slot, "尊敬的【您的姓名】先生"),
    (quality.slot, "请联系XXX办理"),
    (quality.slot, "请联系×××办理"),
    (quality.slot, "Dear [Your Name],"),
    (quality.slot, "金额为（填写金额）元"),
    (quality.mojibake, "锟斤拷锟斤拷"),
    (quality.mojibake, "这是\ufffd问题"),
    (quality.mojibake, "ä½ å¥½ï¼Œè¯·é—®"),
    (quality.mojibake, "Ð¿Ñ€Ð¸Ð²ÐµÑ‚"),
    (quality.mojibake, "schön â€œquotedâ€\x9d"),
    (quality.mojibake, PROSE.encode().decode("gb18030", "ignore")),
    (quality.special_token, "好的。<|im_end|>"),
    (quality.special_token, "[INST] 你好 [/INST]"),
    (quality.special_token, "好的</s>"),
    (quality.special_token, "好的<|eot_id|>"),
    (quality.special_token, "好的<｜end▁of▁sentence｜>"),
    (quality.special_token, "好的。\n### Response:\n好"),
    (quality.control_character, "好的\x08。"),
    (quality.control_character, "\x1b[31m红\x1b[0m"),
    (quality.invisible_character, "好\u200b的"),
    (quality.invisible_character, "好\u202e的"),
    (quality.only_links, "https://example.com/a?b=1"),
    (quality.only_links, "见 https://example.com/a"),
    (lambda text: quality.html("问", text), "<p>您好</p>"),
    (lambda text: quality.html("问", text), "您好&nbsp;再见"),
    (quality.refusal, "作为一个AI语言模型，我无法提供法律意见。"),
    (quality.refusal, "As an AI language model, I cannot do that."),
    (quality.refusal, "I'm sorry, but I can't help."),
    (quality.hanging, "需要准备以下材料："),
    (quality.hanging, "您可以申请仲裁，"),
    (quality.hanging, "您可以申请仲裁，因此"),
    (quality.hanging, "包括工资（含奖金"),
    (quality.hanging, "```python\nprint(1)"),
    (quality.hanging, "You should ask the"),
    (lambda text: quality.echo(text, "怎么 办理退货"), "怎么办理退货？"),
]

SPARED: list[tuple[Callable[[str], object], str]] = [
    (lambda text: quality.placeholder("问", text), "TODOS 和 todo 清单在此，法律还有待补充和完善。"),
    (lambda text: quality.placeholder("问", text), "写 `{{ name }}` 就会显示变量。"),
    (lambda text: quality.placeholder("问", text), "```\n# TODO\n```\n就这样。"),
    (quality.slot, "请拨打〔电话1〕联系〔姓名2〕。"),
    (quality.slot, "Call [PHONE_1] or write to [EMAIL_2]."),
    (quality.slot, r"答案是 $\frac{abc}{def}$ 和 x_{max}。"),
    (quality.slot, "【法律依据】《民法典》，甲某与XX公司，尺码XXL或XXXL。"),
    (quality.slot, "见[名称见附件](https://example.com)"),
    (quality.mojibake, "价格≥100元，温度±5℃，naïve café — “ok” Ωμέγα Привет 木锛"),
    (quality.mojibake, PROSE),
    (quality.special_token, "使用 `<|im_end|>` 结束一轮。"),
    (quality.special_token, "<s>旧价</s>新价，a <b> c，数组 [1] 和 [INSTALL]。"),
    (quality.control_character, "第一行\r\n第二行\t完"),
    (quality.invisible_character, "家人👨\u200d👩\u200d👧和हिन्दी\u200cक"),
    (quality.only_links, "请在 https://example.com 点击「价保申请」提交。"),
    (lambda text: quality.html("这个HTML标签怎么写", text), "用<p>您好</p>即可"),
    (lambda text: quality.html("问", text), "当 a < b 且 c > d 时成立，AT&T 也一样"),
    (quality.refusal, "人工智能可以帮助法官；平台无法满足七天无理由退货的，应当提前说明。"),
    (quality.hanging, "好的。"),
    (quality.hanging, "「好的」"),
    (quality.hanging, "费用为 300 元 (含税)"),
    (lambda text: quality.echo(text, "在订单页点「退货」。"), "怎么办理退货？"),
]


@pytest.mark.parametrize(("sign", "text"), FOUND, ids=[text for _, text in FOUND])
def test_the_sign_finds_it(sign: Callable[[str], object], text: str) -> None:
    assert sign(text)


@pytest.mark.parametrize(("sign", "text"), SPARED, ids=[text for _, text in SPARED])
def test_the_sign_spares_what_looks_like_it(sign: Callable[[str], object], text: str) -> None:
    assert sign(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "哈" * 40,
        "退款退款" * 10,
        "我不知道。" * 12,
        "1" * 60,
        "、非法抵押、非法担保" * 9,
        "好的，请稍等片刻再试。\n谢谢\n" * 6,
    ],
)
def test_a_text_that_repeats_itself_is_measured(text: str) -> None:
    assert quality.repetition(text)[0] > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "哈哈哈哈，好的，我们马上为您处理这件事情。",
        "-" * 80,
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "好的好的好的，马上",
        PROSE * 3,
    ],
)
def test_laughter_rules_and_tables_are_no_repetition(text: str) -> None:
    assert quality.repetition(text)[0] <= 0.5


def usual_of(*answers: str, **config: object) -> Usual:
    tally = Tally()
    for answer in answers:
        tally.add(answer)
    return tally.usual(ValidationConfig(**config))  # type: ignore[arg-type]


def test_the_majority_of_a_set_has_a_script_and_a_last_mark() -> None:
    assert usual_of(*[PROSE] * 30) == Usual("Han", True, None)
    assert usual_of(*[PROSE] * 30, *["The employer has to pay the wages on time and in full."] * 5).script is None
    assert usual_of(*[PROSE] * 10) == NOTHING_USUAL


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (PROSE, "Han"),
        ("请下载 WhatsApp Business 或 iPhone Mail 客户端登录。", "Han"),
        ("これは日本語の文章です。会社は賃金を払います。", "Kana"),
        ("회사는 임금을 제때 지급해야 합니다.", "Hangul"),
        ("Компания обязана вовремя платить зарплату своим людям.", "Cyrillic"),
        ("好的", None),
        ("```python\nfor name in names_of_all_the_people: print(name, end)\n```", None),
    ],
)
def test_the_script_is_told_by_words_not_letters(text: str, script: str | None) -> None:
    assert script_of(text) == script


def test_an_answer_in_another_script_is_found_unless_the_question_asks_for_it() -> None:
    chinese = usual_of(*[PROSE] * 30)
    english = "The employer has to pay the wages on time and in full."
    assert wrong_language("公司拖欠工资怎么办", english, chinese) == "Latin instead of Han"
    assert wrong_language("把这句话翻译一下：公司应当发工资", english, chinese) is None
    assert wrong_language("公司拖欠工资怎么办", "OK, 300.", chinese) is None
    assert wrong_language("公司拖欠工资怎么办", english, usual_of(language="en")) is None
    assert wrong_language("公司拖欠工资怎么办", PROSE, usual_of(language="en")) == "Han instead of Latin"


def test_a_missing_last_mark_is_strange_only_where_answers_have_one() -> None:
    cut = "您可以先申请劳动仲裁。如果对结果不服，再向法院起"
    assert cut_off(cut, usual_of(*[PROSE] * 30)) == "可以先申请劳动仲裁。如果对结果不服，再向法院起"[-12:]
    assert cut_off(cut, NOTHING_USUAL) is None
    for fine in (
        "好的",
        "1. 身份证\n2. 劳动合同",
        "合计 12 + 30 = 42",
        "详见。https://example.com/a",
        "您好。😊",
        "已为您登记。〔电话1〕",
    ):
        assert cut_off(fine, usual_of(*[PROSE] * 30)) is None


def test_many_answers_of_exactly_the_greatest_length_were_cut_by_a_program() -> None:
    cut = [f"{start}{'甲乙丙丁戊己庚辛壬癸' * 6}"[:50] for start in "一二三四"]
    usual = usual_of("短。", *cut)
    assert usual.cap == 50
    assert "exactly 50 characters" in str(cut_off(cut[0], usual))
    assert usual_of("短。", cut[0]).cap is None
