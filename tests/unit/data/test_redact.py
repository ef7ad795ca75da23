import json
import re
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loramill.config import PersonalKind, ValidationConfig
from loramill.data.redact import find_personal, redact_record, redact_text
from loramill.records import Message, Record, ToolCall
from tests.factories import record

KINDS: tuple[PersonalKind, ...] = get_args(PersonalKind)
SNIPPETS = Path(__file__).parents[3] / "benchmarks" / "redaction_snippets.jsonl"
QUICK = settings(max_examples=60, deadline=None, database=None, derandomize=True)


def snippets() -> list[dict[str, object]]:
    rows = [json.loads(line) for line in SNIPPETS.read_text(encoding="utf-8").splitlines()]
    assert len(rows) >= 320
    return rows


def test_every_kind_is_redacted_by_default() -> None:
    assert ValidationConfig().redact == KINDS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话13812345678", "电话〔电话1〕"),
        ("电话１３８－１２３４－５６７８", "电话〔电话1〕"),
        ("座机(0755) 26543210转8012。", "座机〔电话1〕。"),
        ("身份证号110105199003072316", "身份证号〔身份证号1〕"),
        ("卡 6222 0212 3456 7890 128 已冻结", "卡 〔银行卡号1〕 已冻结"),
        ("发到li.na@mail.example.cn。", "发到〔邮箱1〕。"),
        ("我住在浙江省杭州市西湖区文三路138号2单元501室。", "我住在〔地址1〕。"),
        ("车牌粤BF12345", "车牌〔车牌1〕"),
        ("张先生您好，我是李律师", "〔姓名1〕先生您好，我是〔姓名2〕律师"),
        ("合同金额为128万元，月薪8000元", "合同金额为〔合同金额1〕，月薪8000元"),
        ("加我微信zhao_2020", "加我微信〔社交账号1〕"),
        ("我叫刘志强今年35岁", "我叫〔姓名1〕今年35岁"),
        ("Dear Mr. Smith, call +1 415-555-0132.", "Dear Mr. [NAME_1], call [PHONE_1]."),
    ],
)
def test_a_value_becomes_a_placeholder_of_its_kind(text: str, expected: str) -> None:
    assert redact_text(text, KINDS) == expected


@pytest.mark.parametrize(
    "text",
    [
        "拨打12333、12345、12348或110，银行95588，客服400-820-8820，010-12345",
        "订单号6222021234567890128和快递单号SF1381234567890，流水13812345678901234567",
        "依据《劳动合同法》第三十八条，（2023）京0105民初12345号，法释〔2020〕26号，2024-03-15",
        "我是李某；王某、张某某与某公司；先生您好；何时、和平、曾经；任何律师、对方律师、支付律师费；谢谢医生",
        "月薪5000元，罚款2000元以上2万元以下，违约金不得超过合同金额的30%，合同金额超过400万元的",
        "未签合同的二倍工资差额37200元；劳动合同约定工资6000元",
        "童工、施工单位、车间主任、工程师傅没到、总经理不同意",
        "北京市朝阳区和广东省都有；312国道18号；地铁1号线；本小区3号楼",
        "Dear Customer, call 911 or 1-800-555-0199. I'm Chinese. Best regards,\nSupport Team",
    ],
)
def test_what_advice_rests_on_stays(text: str) -> None:
    assert redact_text(text, KINDS) == text


def test_only_the_kinds_asked_for_are_redacted() -> None:
    text = "张先生，13812345678"
    assert redact_text(text, ["phone"]) == "张先生，〔电话1〕"
    assert redact_text(text, []) == text


def test_one_value_has_one_placeholder_in_every_turn_however_it_is_written() -> None:
    before = Record(
        (
            Message("system", "客服电话 +86 138 1234 5678"),
            Message("user", "我叫林小雨，手机13812345678，旧号13911112222"),
            Message("assistant", "林小雨您好，已记下138-1234-5678。"),
        ),
        "a.txt:1",
    )
    after, counts = redact_record(before, KINDS)
    assert [message.content for message in after.messages] == [
        "客服电话 〔电话1〕",
        "我叫〔姓名1〕，手机〔电话1〕，旧号〔电话2〕",
        "〔姓名1〕您好，已记下〔电话1〕。",
    ]
    assert counts == Counter(phone=4, name=2)
    assert (after.source, [m.role for m in after.messages]) == (before.source, [m.role for m in before.messages])


def test_a_record_without_personal_data_is_the_same_object() -> None:
    clean = record("加班费怎么算？", "按工资的150%支付。")
    after, counts = redact_record(clean, KINDS)
    assert after is clean
    assert counts == Counter()


def test_new_numbers_begin_after_the_placeholders_that_a_row_brings_along() -> None:
    assert redact_text("〔电话2〕打不通，打13812345678", KINDS) == "〔电话2〕打不通，打〔电话3〕"


def test_redacting_twice_changes_nothing_more() -> None:
    once = [redact_text(str(snippet["text"]), KINDS) for snippet in snippets()]
    assert [redact_text(text, KINDS) for text in once] == once


@QUICK
@given(
    st.lists(
        st.sampled_from([str(snippet["text"]) for snippet in snippets()]) | st.text(max_size=12), min_size=1, max_size=4
    )
)
def test_any_conversation_is_redacted_for_good_and_keeps_its_shape(parts: list[str]) -> None:
    whole = Record((Message("user", "".join(parts)), *(Message("assistant", part) for part in parts)), "any:1")
    once, counts = redact_record(whole, KINDS)
    again, more = redact_record(once, KINDS)
    assert again == once
    assert not more
    assert len(once.messages) == len(whole.messages)
    assert (once is whole) == (not counts)
    assert replace(once, messages=whole.messages) == whole


@QUICK
@given(st.text())
def test_every_span_lies_in_the_text_and_none_overlap(text: str) -> None:
    spans = find_personal(text, KINDS)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert all(first.end <= second.start for first, second in pairwise(spans))


def test_placeholders_are_no_template_variables_and_no_leftovers() -> None:
    text = redact_text("张先生 13812345678", KINDS) + redact_text("Dear Mr Smith", KINDS)
    assert not re.search(r"\{|\}|<|>|TODO|待补充", text)


ADVERSE = [
    "1", "1 ", "13", "(0", "0-", "+1 (", "6222 ", "９", "a", "a.", "a@", "@a.", "A'", "京A1", "微信a", "QQ ", "路1", "路1号",
    "区1号楼", "大厦1", "一", "先生", "王先生", "张张先生", "谢", "我叫王", "姓名：", "原告王", "合同额", "合同金额", "壹",
    "（大写", "Mr A", "Dear Aa ", "Aa ", "12 Oak ", "Regards,\n", "contract price $1,", "contract price ",
    "〔电话1", "[PHONE_1", "\n",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_thirty_thousand_characters_of_bait_take_less_than_a_fifth_of_a_second(kind: PersonalKind) -> None:
    worst = 0.0
    for bait in ADVERSE:
        text = bait * (30_000 // len(bait)) + "！"
        begin = time.process_time()
        find_personal(text, [kind])
        worst = max(worst, time.process_time() - begin)
    assert worst < 0.2


@pytest.mark.parametrize("domain", ["law", "customer-service"])
def test_the_rows_that_come_along_hold_no_personal_data(root: Path, domain: str) -> None:
    files = [path for path in (root / "data" / domain).iterdir() if path.suffix in (".txt", ".jsonl")]
    lines = [line for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) >= 100
    assert [line for line in lines if redact_text(line, KINDS) != line] == []


@pytest.mark.parametrize("part", ["tune", "test"])
def test_the_published_precision_and_recall_hold(part: str) -> None:
    labelled, found = set(), set()
    for snippet in snippets():
        if snippet["part"] == part:
            labelled |= {(snippet["id"], span["start"], span["end"], span["kind"]) for span in snippet["spans"]}
            found |= {(snippet["id"], *span) for span in find_personal(str(snippet["text"]), KINDS)}
    assert len(labelled & found) >= 0.9 * len(labelled)
    assert len(labelled & found) >= 0.9 * len(found)


def test_values_in_the_arguments_of_a_call_are_redacted_and_its_keys_stay() -> None:
    arguments = {
        "phone": "13812345678",
        "13912345678": 1,
        "n": 13812345678,
        "to": [{"name": "林小雨 \\"}],
        "price": 5.25,
    }
    call = ToolCall("send", json.dumps(arguments, ensure_ascii=False), "1")
    turns = (Message("user", "我叫林小雨，电话13812345678"), Message("assistant", "", (call,)))
    redacted, counts = redact_record(Record(turns, "a:1"), KINDS)
    assert json.loads(redacted.messages[1].tool_calls[0].arguments) == {
        "phone": "〔电话1〕",
        "13912345678": 1,
        "n": "〔电话1〕",
        "to": [{"name": "〔姓名1〕 \\"}],
        "price": 5.25,
    }
    assert (redacted.messages[0].content, counts["phone"]) == ("我叫〔姓名1〕，电话〔电话1〕", 3)


def test_arguments_without_personal_data_stay_as_they_were_written() -> None:
    call = ToolCall("send", '{"a":  "b\\u00e9",\n"n": 1e5}')
    turns = (Message("user", "电话13812345678"), Message("assistant", "", (call,)))
    assert redact_record(Record(turns, "a:1"), KINDS)[0].messages[1].tool_calls == (call,)
