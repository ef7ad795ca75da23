"""On the tokenizers that people use: Qwen3's, minimind's, one of 105 characters, and the embedded base's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from loramill.preflight.rows import Checked, Limits, RowCheck
from loramill.records import Message, Record, ToolCall
from tests.factories import record
from tests.unit.helpers import conversation

STOP = "<|im_end|>"
SILENT: dict[str, bool | str] = {"enable_thinking": False}
LONG = Limits(10**6)
ONE = record("试用期被辞退有补偿吗？", "依据《劳动合同法》第39条，要看理由。\n\n请先保留证据。")
TOOL = '{"type": "function", "function": {"name": "weather", "description": "d", "parameters": {}}}'


@pytest.fixture(scope="module")
def qwen(shared: Path) -> Any:
    tokenizer = AutoTokenizer.from_pretrained(shared / "tok_qwen3_0.6b")
    tokenizer.eos_token = STOP
    return tokenizer


@pytest.fixture(scope="module")
def minimind(shared: Path) -> Any:
    return AutoTokenizer.from_pretrained(shared / "tok_minimind_v3")


@pytest.fixture(scope="module")
def own(tiny_folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_folder)


@pytest.fixture(scope="module")
def letters(shared: Path) -> Any:
    """105 characters, everything else is unknown; a template that knows no system turn and no tools."""
    tokenizer = AutoTokenizer.from_pretrained(shared / "weights_babyllama105_940k" / "hf")
    tokenizer.chat_template = (
        "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}"
        "{% if m['role'] == 'assistant' %}{{ '</s>' }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    )
    return tokenizer


def check(tokenizer: Any, row: Record, template: dict[str, bool | str] | None = None, limits: Limits = LONG) -> Checked:
    return RowCheck(tokenizer, template or {}, limits)(row)


def broken(checked: Checked) -> dict[str, str]:
    return {problem.rule: problem.reason for problem in checked.problems}


@pytest.mark.parametrize("name", ["qwen", "minimind", "own"])
def test_a_good_row_has_no_problem_and_ends_with_the_stop_token(name: str, request: pytest.FixtureRequest) -> None:
    tokenizer = request.getfixturevalue(name)
    checked = check(tokenizer, conversation("加班费怎么算？", "按150%。", "周末呢？", "按200%。"), SILENT)
    assert checked.problems == ()
    assert [row.ids[-1] for row in checked.rows] == [tokenizer.eos_token_id] * 2


def test_qwens_empty_think_block_is_learnt_unless_the_template_is_told(qwen: Any) -> None:
    assert "'<think>\\n\\n</think>' before the answer, and it is learnt" in broken(check(qwen, ONE))["unwritten"]
    assert broken(check(qwen, ONE, SILENT)) == {}


def test_a_prompt_whose_tokens_do_not_begin_the_row_is_an_error(qwen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Qwen3's thinking models open the thought in the prompt: one line feed there, two in the row, which are one token."""
    opened = "assistant\\n<think>\\n' }}\n    {%- if enable_thinking"
    template = qwen.chat_template.replace("assistant\\n' }}\n    {%- if enable_thinking", opened)
    monkeypatch.setattr(qwen, "chat_template", template)
    assert opened in qwen.chat_template
    reason = broken(check(qwen, ONE))["prefix"]
    assert reason.startswith("a server's prompt goes on with '\\n' where the row has '\\n\\n</think>")
    assert "set the template's arguments" in reason


def test_a_template_that_rewrites_the_prompt_is_an_error(tiny_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = "{{ messages | length }}" + tokenizer.chat_template
    found = check(tokenizer, ONE)
    assert set(broken(found)) == {"prefix"}
    assert found.rows == ()


def test_a_stop_token_that_the_template_does_not_write_is_an_error(shared: Path) -> None:
    """Qwen3's own eos is another token than the one its template writes."""
    base = AutoTokenizer.from_pretrained(shared / "tok_qwen3_0.6b")
    assert "'<|endoftext|>'" in broken(check(base, ONE, SILENT))["stop"]
    assert "set stop_token in conf/bases/" in broken(check(base, ONE, SILENT))["stop"]


@pytest.mark.parametrize("name", ["qwen", "own"])
def test_a_row_that_teaches_nothing_is_an_error(name: str, request: pytest.FixtureRequest) -> None:
    found = broken(check(request.getfixturevalue(name), record("问题", ""), SILENT))
    assert found["nothing"] == "the answer has no token to learn; write one or remove the row"


def test_a_conversation_without_an_answer_is_an_error(own: Any) -> None:
    assert set(broken(check(own, Record((Message("user", "在吗？"),), "a:1")))) == {"nothing"}


def test_an_answer_that_would_be_cut_is_an_error_and_says_by_how_much(qwen: Any) -> None:
    (row,) = check(qwen, ONE, SILENT).rows
    assert broken(check(qwen, ONE, SILENT, Limits(len(row.ids)))) == {}
    reason = broken(check(qwen, ONE, SILENT, Limits(len(row.ids) - 1)))["cut"]
    assert reason == (
        f"{row.prompt_length} + {row.targets} tokens exceed learning.max_tokens ({len(row.ids) - 1}); "
        "raise it or shorten the row"
    )
    assert set(broken(check(qwen, ONE, SILENT, Limits(10**6, window=len(row.ids) - 1)))) == {"window"}


def test_characters_without_a_token_are_named(letters: Any, own: Any) -> None:
    row = record("What is 年假?", "Five days.")
    assert broken(check(letters, row))["unknown"].startswith("'假', '年' become '<unk>': the model could neither read")
    assert broken(check(own, row)) == {}


def test_a_byte_level_tokenizer_whose_unknown_token_is_a_control_token_is_no_problem(minimind: Any) -> None:
    assert minimind.unk_token == "<|endoftext|>"
    assert broken(check(minimind, record("𠮷野家在哪？", "👩‍👩‍👧 ﹏ 㐂"))) == {}


@pytest.mark.parametrize("name", ["qwen", "minimind", "own"])
@pytest.mark.parametrize("token", ["<|im_start|>system", "<|im_end|>", "<|endoftext|>"])
def test_a_control_token_in_the_text_is_an_error(name: str, token: str, request: pytest.FixtureRequest) -> None:
    row = record(f"好的。{token}\n你是谁？", "我是助手。")
    reason = broken(check(request.getfixturevalue(name), row, SILENT))["control"]
    assert reason.startswith(f"'{token.removesuffix('system')}' in the text is a control token of this base")


def test_a_thought_in_the_answer_is_only_a_mark(qwen: Any) -> None:
    found = check(qwen, record("一加一？", "<think>\n数一数\n</think>\n\n二"))
    assert set(broken(found)) == {"mark"}
    assert found.problems[0].level == "warning"


def test_a_tokenizer_that_rewrites_the_text_is_an_error(own: Any) -> None:
    from tokenizers import normalizers

    tokenizer = AutoTokenizer.from_pretrained(own.name_or_path)
    tokenizer.backend_tokenizer.normalizer = normalizers.NFKC()
    assert "'？' comes back as '?'" in broken(check(tokenizer, record("可以吗？", "可以的")))["rewritten"]


def test_composed_accents_are_only_a_warning(qwen: Any) -> None:
    found = check(qwen, record("Cafe\u0301 是什么？", "咖啡馆"), SILENT)
    assert set(broken(found)) == {"composed"}
    assert found.problems[0].level == "warning"


def test_tools_are_rendered_or_an_error(qwen: Any, letters: Any) -> None:
    call = Message("assistant", "", (ToolCall("weather", '{"city": "x"}'),))
    row = Record(
        (Message("user", "rain?"), call, Message("tool", "yes"), Message("assistant", "Yes.")), "t.json:1", (TOOL,)
    )
    assert broken(check(qwen, row, SILENT)) == {}
    assert "not rendered; take a base whose template knows tools" in broken(check(letters, row))["tools"]
    offered = replace(ONE, messages=(Message("user", "rain?"), Message("assistant", "Yes.")), tools=(TOOL,))
    assert "the row's 1 tools is not rendered" in broken(check(letters, offered))["tools"]


def test_a_system_turn_that_the_template_drops_is_an_error(letters: Any) -> None:
    row = Record((Message("system", "Be brief."), Message("user", "Who?"), Message("assistant", "Me.")), "s:1")
    assert broken(check(letters, row))["left-out"].startswith("the system turn 'Be brief.' is not in the prompt")


def test_a_template_that_refuses_is_told_with_its_words(tiny_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    assert "System role not supported" in broken(check(tokenizer, ONE))["template"]
