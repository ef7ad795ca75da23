"""Rows with tools: rendered as a server renders them, or refused where the template would leave them out."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from loramill.errors import DataError
from loramill.prompts import encode, prompt_ids
from loramill.records import Message, Record, ToolCall

MANY = 10**6
TOOL = '{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}'
CALL = Message("assistant", "", (ToolCall("weather", '{"city": "北京"}'),))
ROW = Record(
    (Message("user", "北京天气？"), CALL, Message("tool", "晴"), Message("assistant", "晴天。")), "a.jsonl:7", (TOOL,)
)


@pytest.fixture(scope="module")
def qwen(shared: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tok_qwen3_0.6b")
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


def test_tools_and_calls_are_learnt_as_a_server_would_see_them(qwen: Any) -> None:
    import json

    call, answer = encode(qwen, ROW, {"enable_thinking": False}, MANY)
    asked = [{"role": "user", "content": "北京天气？"}]
    server = qwen.apply_chat_template(
        asked, tools=[json.loads(TOOL)], add_generation_prompt=True, tokenize=False, enable_thinking=False
    )
    assert qwen.decode(call.ids[: call.prompt_length]) == server
    assert list(call.ids[: call.prompt_length]) == prompt_ids(
        qwen, ROW.messages[:1], {"enable_thinking": False}, ROW.tools
    )
    assert qwen.decode(call.ids[call.prompt_length :]).endswith(
        '<tool_call>\n{"name": "weather", "arguments": {"city": "北京"}}\n</tool_call><|im_end|>'
    )
    prompt = qwen.decode(answer.ids[: answer.prompt_length])
    assert "<tool_response>\n晴\n</tool_response>" in prompt
    assert '"name": "weather"' in prompt


def test_reasoning_is_learnt_as_the_template_writes_it(qwen: Any) -> None:
    row = Record((Message("user", "问"), Message("assistant", "<think>\n想\n</think>\n\n答")), "a:1")
    (learnt,) = encode(qwen, row, {}, MANY)
    assert qwen.decode(learnt.ids[learnt.prompt_length :]) == "<think>\n想\n</think>\n\n答<|im_end|>"


def test_a_template_that_leaves_tools_out_is_refused(tiny_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
    without_calls = Record((Message("user", "问"), Message("assistant", "答")), "a.jsonl:7", (TOOL,))
    with pytest.raises(
        DataError, match=r"a\.jsonl:7: the base's chat template leaves out the row's 1 tools; take a base"
    ):
        encode(tokenizer, without_calls, {}, MANY)
    with pytest.raises(DataError, match=r"a\.jsonl:7: the base's chat template leaves out the call of 'weather'"):
        encode(tokenizer, ROW, {}, MANY)
