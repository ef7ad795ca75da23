import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loramill.errors import DataError
from loramill.records import Message, Record, ToolCall, read_records, write_records
from tests.factories import record, records
from tests.unit.helpers import conversation

# what a JSON line may hold; lone surrogates are no text
TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def test_the_id_depends_on_what_is_said_and_not_on_where_it_lies() -> None:
    first = record("问题", "答案", "a.txt:1")
    assert first.id == record("问题", "答案", "b.csv:9").id
    assert len(first.id) == 16
    others = [
        record("问题", "答案。"),
        record("问题。", "答案"),
        record("答案", "问题"),
        Record((Message("system", "问题"), Message("assistant", "答案")), "a.txt:1"),
        conversation("问题", "答案", "问题", "答案"),
    ]
    assert len({first.id, *(other.id for other in others)}) == 6


def test_the_id_is_the_same_for_ever() -> None:
    assert record("问题", "答案").id == "289632e28caa8989"


def test_tools_and_calls_are_part_of_the_id_where_there_are_any() -> None:
    plain = Record((Message("user", "问题"), Message("assistant", "")), "a:1")
    called = Record((Message("user", "问题"), Message("assistant", "", (ToolCall("f", "{}"),))), "a:1")
    other = Record((Message("user", "问题"), Message("assistant", "", (ToolCall("g", "{}"),))), "a:1")
    given_tools = Record(plain.messages, "a:1", ('{"name": "f"}',))
    assert len({plain.id, called.id, other.id, given_tools.id}) == 4


def test_an_answer_that_is_a_call_says_something() -> None:
    row = Record((Message("user", "问题"), Message("assistant", "好的", (ToolCall("查询", '{"a": 1}'),))), "a:1")
    assert row.answer == '好的\n{"name": "查询", "arguments": {"a": 1}}'


def test_rows_with_tools_return_as_they_were(tmp_path: Path) -> None:
    turns = (
        Message("user", "天气？"),
        Message("assistant", "", (ToolCall("weather", '{"city": "北京"}', "call-1"),)),
        Message("tool", "晴", tool_call_id="call-1"),
        Message("assistant", "晴天。"),
    )
    rows = [Record(turns, "a.jsonl:1", ('{"type": "function"}',)), *records(1)]
    path = write_records(tmp_path / "records.jsonl", rows)
    assert read_records(path) == rows
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1]).keys() == {"id", "source", "messages"}


def test_the_last_turns_are_question_and_answer() -> None:
    row = conversation("一", "二", "三", "四")
    assert (row.question, row.answer) == ("三", "四")
    assert [message.content for message in row.asked] == ["一", "二", "三"]


def test_what_was_asked_never_holds_the_answer() -> None:
    """A system message after the answer must not push the answer into the prompt."""
    row = Record((*record("问", "答").messages, Message("system", "附注")), "a.json:1")
    assert "assistant" not in [message.role for message in row.asked]


def test_records_return_as_they_were(tmp_path: Path) -> None:
    rows = [*records(5), conversation("一\n二", "三\t四", "五\u3000", "六")]
    path = write_records(tmp_path / "records.jsonl", rows)
    assert read_records(path) == rows
    assert [json.loads(line)["id"] for line in path.read_text().splitlines()] == [row.id for row in rows]


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(TEXT, TEXT, TEXT)
def test_any_text_returns_as_it_was(question: str, answer: str, source: str) -> None:
    row = record(question, answer, source)
    with tempfile.TemporaryDirectory() as folder:
        assert read_records(write_records(Path(folder) / "records.jsonl", [row, row])) == [row, row]


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0c", "\r"])
def test_a_separator_inside_a_text_does_not_end_its_line(tmp_path: Path, separator: str) -> None:
    rows = [record(f"前{separator}后", "答案")]
    assert read_records(write_records(tmp_path / "records.jsonl", rows)) == rows


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]\n",
        '{"id": "x"}\n',
        '{"messages": [{"role": "user"}], "source": "s"}\n',
        '{"messages": [{"role": "user", "content": "x", "more": 1}], "source": "s"}\n',
        '{"messages": "x", "source": "s"}\n',
        '{"id": "x", "messages": [], "source": "s", "tools": [1]}\n',
        '{"id": "x", "messages": [{"role": "user", "content": "x", "tool_calls": [{"name": "f"}]}], "source": "s"}\n',
        '{"id": "x", "messages": [{"role": "user", "content": "x", "tool_calls": 5}], "source": "s"}\n',
        "\ufeff\ud7ff",
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"records\.jsonl' is not a file of records .*delete it and run the step again"):
        read_records(path)


def test_a_record_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    path = write_records(tmp_path / "records.jsonl", [record("问题", "答案")])
    path.write_text(path.read_text(encoding="utf-8").replace("答案", "另一个"), encoding="utf-8")
    with pytest.raises(DataError, match="is not a file of records"):
        read_records(path)


def test_a_missing_file_says_which_step_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl' does not exist; run the steps before this one"):
        read_records(tmp_path / "none.jsonl")
