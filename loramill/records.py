"""The one shape that a row has after reading: a short conversation with an identity and a source."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from loramill.errors import DataError
from loramill.reports import write_text

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True)
class ToolCall:
    """A call that the assistant makes instead of, or along with, an answer."""

    name: str
    arguments: str
    """A JSON object as text, its keys in the order in which they were written."""
    id: str = ""
    """What the tool's result refers to, for templates that ask for it."""


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    """Only in a turn of the assistant."""
    tool_call_id: str = ""
    """Only in a turn of a tool: the call that it answers."""

    @property
    def text(self) -> str:
        """What is said, calls included: empty only if the turn says nothing at all."""
        calls = (f'{{"name": {_json(call.name)}, "arguments": {call.arguments}}}' for call in self.tool_calls)
        return "\n".join(part for part in (self.content, *calls) if part)


@dataclass(frozen=True)
class Record:
    """A conversation to learn from; it ends with the assistant's turn."""

    messages: tuple[Message, ...]
    source: str
    """Where it was read: ``file:line``."""
    tools: tuple[str, ...] = ()
    """The tools that the assistant may call, each as the JSON text of what a server is given."""

    @property
    def id(self) -> str:
        """The first 16 hex digits of the sha256 of what is said: the same row has the same id wherever it lies.

        Tools count only where there are any: the id of a row without them is the same as before there were tools.
        """
        said: list[Any] = [list(_written(message).values()) for message in self.messages]
        return hashlib.sha256(_json([said, *self.tools] if self.tools else said).encode()).hexdigest()[:16]

    @property
    def question(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        """The last assistant turn, the calls that it makes included."""
        return next((m.text for m in reversed(self.messages) if m.role == "assistant"), "")

    @property
    def asked(self) -> tuple[Message, ...]:
        """Everything before the last assistant turn."""
        answers = [place for place, message in enumerate(self.messages) if message.role == "assistant"]
        return self.messages[: answers[-1]] if answers else self.messages


def write_records(path: Path, records: Iterable[Record]) -> Path:
    """Write one JSON object a line, with ``id``, ``source`` and ``messages``, and ``tools`` where a row has any."""
    return write_text(path, (f"{_json(_line(record))}\n" for record in records))


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote.

    Raises:
        DataError: the file is missing or was changed by hand.
    """
    if not path.is_file():
        raise DataError(f"{str(path)!r} does not exist; run the steps before this one (`dvc repro` does)")
    try:
        # only a line feed ends a line: splitlines() would also cut at U+2028 inside a text
        with path.open(encoding="utf-8", newline="\n") as lines:
            return [_record(json.loads(line)) for line in lines if line != "\n"]
    except (ValueError, RecursionError, DataError) as error:
        raise DataError(
            f"{str(path)!r} is not a file of records ({error}); delete it and run the step again"
        ) from error


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _line(record: Record) -> dict[str, Any]:
    messages = [_written(message) for message in record.messages]
    line: dict[str, Any] = {"id": record.id, "source": record.source, "messages": messages}
    return line | ({"tools": list(record.tools)} if record.tools else {})


def _written(message: Message) -> dict[str, Any]:
    """Return role and content, and of the tools' part what the message has."""
    calls = [vars(call) for call in message.tool_calls]
    more = {"tool_calls": calls, "tool_call_id": message.tool_call_id}
    return {"role": message.role, "content": message.content} | {key: value for key, value in more.items() if value}


def _record(row: object) -> Record:
    if not isinstance(row, dict) or row.keys() - {"tools"} != {"id", "source", "messages"}:
        raise DataError("a row must have id, source and messages, at most tools besides, and nothing else")
    if not isinstance(row["messages"], list) or not isinstance(row["source"], str):
        raise DataError("messages must be a list, and source a text")
    tools = _texts(row.get("tools", []), "tools")
    record = Record(tuple(_message(message) for message in row["messages"]), row["source"], tools)
    if record.id != row["id"]:
        raise DataError(f"the row with id {row['id']!r} was changed: what it says has id {record.id!r}")
    return record


def _message(message: object) -> Message:
    if not isinstance(message, dict) or message.keys() - {"tool_calls", "tool_call_id"} != {"role", "content"}:
        raise DataError("a message must have role and content, what a tool needs, and nothing else")
    if message["role"] not in get_args(Role) or not isinstance(message["content"], str):
        raise DataError(f"a message must have a role of {', '.join(get_args(Role))} and a text")
    calls, answers = message.get("tool_calls", []), message.get("tool_call_id", "")
    if not isinstance(calls, list) or not isinstance(answers, str):
        raise DataError("tool_calls must be a list, and tool_call_id a text")
    return Message(message["role"], message["content"], tuple(_call(call) for call in calls), answers)


def _call(call: object) -> ToolCall:
    if not isinstance(call, dict) or call.keys() != {"name", "arguments", "id"}:
        raise DataError("a call must have name, arguments and id and nothing else")
    return ToolCall(*_texts([call["name"], call["arguments"], call["id"]], "what a call holds"))


def _texts(values: object, what: str) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise DataError(f"{what} must be texts")
    return tuple(values)
