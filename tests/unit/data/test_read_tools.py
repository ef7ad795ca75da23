"""Conversations with tools, as ShareGPT, OpenAI and LLaMA-Factory write them."""

import json
from pathlib import Path

import pytest

from loramill.records import Message, ToolCall
from tests.unit.helpers import read

BARE = {"name": "weather", "parameters": {"type": "object"}}
WRAPPED = {"type": "function", "function": BARE}
ARGUMENTS = {"city": "北京"}
WANTED = (
    Message("user", "天气？"),
    Message("assistant", "", (ToolCall("weather", '{"city": "北京"}'),)),
    Message("tool", "晴"),
    Message("assistant", "晴天。"),
)


def sharegpt() -> list[dict[str, object]]:
    return [
        {"from": "human", "value": "天气？"},
        {"from": "function_call", "value": json.dumps({"name": "weather", "arguments": ARGUMENTS})},
        {"from": "observation", "value": "晴"},
        {"from": "gpt", "value": "晴天。"},
    ]


def openai(call: object) -> list[dict[str, object]]:
    return [
        {"role": "user", "content": [{"type": "text", "text": "天气？"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "晴"},
        {"role": "assistant", "content": "晴天。"},
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": sharegpt(), "tools": json.dumps([BARE])},
        {"messages": openai({"function": {"name": "weather", "arguments": json.dumps(ARGUMENTS)}}), "tools": [WRAPPED]},
        {"messages": openai({"name": "weather", "arguments": ARGUMENTS}), "functions": [BARE]},
    ],
)
def test_tools_calls_and_results_are_kept(tmp_path: Path, row: object) -> None:
    records, refused = read(tmp_path, {"a.jsonl": json.dumps(row)})
    assert refused == []
    assert records[0].messages == WANTED
    assert records[0].tools == (json.dumps(WRAPPED),)


def test_ids_of_calls_are_kept(tmp_path: Path) -> None:
    turns = openai({"id": "call-1", "function": {"name": "weather", "arguments": "{}"}})
    turns[2]["tool_call_id"] = "call-1"
    records, _ = read(tmp_path, {"a.jsonl": json.dumps({"messages": turns, "tools": "[]"})})
    assert records[0].messages[1].tool_calls == (ToolCall("weather", "{}", "call-1"),)
    assert records[0].messages[2].tool_call_id == "call-1"
    assert records[0].tools == ()


def test_parts_of_a_message_are_reasoning_text_and_calls(tmp_path: Path) -> None:
    parts = [
        {"type": "reasoning", "value": "想"},
        {"type": "text", "value": "查一下"},
        {"type": "tool_call", "value": json.dumps(BARE)},
    ]
    row = {"messages": [{"role": "user", "content": "天气？"}, {"role": "assistant", "content": parts}]}
    records, _ = read(tmp_path, {"a.jsonl": json.dumps(row)})
    assert records[0].messages[1].content == "<think>\n想\n</think>\n\n查一下"
    assert records[0].messages[1].tool_calls[0].arguments == '{"type": "object"}'


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"tools": "{"}, "bad-tool-call"),
        ({"tools": 5}, "bad-tools"),
        ({"tools": [{"description": "x"}]}, "bad-tools"),
        ({"conversations": [sharegpt()[0], {"from": "function_call", "value": "{"}]}, "bad-tool-call"),
        ({"conversations": [sharegpt()[0], {"from": "function_call", "value": '{"name": 5}'}]}, "bad-tool-call"),
        ({"conversations": [sharegpt()[0], sharegpt()[1], sharegpt()[3]]}, "roles-out-of-order"),
        ({"conversations": [sharegpt()[0], sharegpt()[2], sharegpt()[3]]}, "roles-out-of-order"),
    ],
)
def test_what_is_no_conversation_with_tools_is_refused(tmp_path: Path, change: dict[str, object], rule: str) -> None:
    row = {"conversations": sharegpt(), "tools": [BARE]} | change
    records, refused = read(tmp_path, {"a.jsonl": json.dumps(row)})
    assert records == []
    assert [row.rule for row in refused] == [rule]
