"""The one shape that a row has after reading: a short conversation with an identity and a source."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from loramill.errors import DataError
from loramill.reports import write_text

Role = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True)
class Record:
    """A conversation to learn from; it ends with the assistant's turn."""

    messages: tuple[Message, ...]
    source: str
    """Where it was read: ``file:line``."""

    @property
    def id(self) -> str:
        """The first 16 hex digits of the sha256 of what is said: the same row has the same id wherever it lies."""
        said = json.dumps([[message.role, message.content] for message in self.messages], ensure_ascii=False)
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    @property
    def question(self) -> str:
        """The last user turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "user"), "")

    @property
    def answer(self) -> str:
        """The last assistant turn."""
        return next((m.content for m in reversed(self.messages) if m.role == "assistant"), "")

    @property
    def asked(self) -> tuple[Message, ...]:
        """Everything before the last assistant turn."""
        answers = [place for place, message in enumerate(self.messages) if message.role == "assistant"]
        return self.messages[: answers[-1]] if answers else self.messages


def write_records(path: Path, records: Iterable[Record]) -> Path:
    """Write one JSON object a line, with ``id``, ``source`` and ``messages``."""
    lines = [
        json.dumps(
            {"id": r.id, "source": r.source, "messages": [vars(m) for m in r.messages]},
            ensure_ascii=False,
        )
        for r in records
    ]
    return write_text(path, "".join(line + "\n" for line in lines))


def read_records(path: Path) -> list[Record]:
    """Read what `write_records` wrote.

    Raises:
        DataError: the file is missing or was changed by hand.
    """
    if not path.is_file():
        raise DataError(f"{str(path)!r} does not exist; run the steps before this one (`dvc repro` does)")
    try:
        # only a line feed ends a line: splitlines() would also cut at U+2028 inside a text
        lines = path.read_text(encoding="utf-8").split("\n")
        return [_record(json.loads(line)) for line in lines if line]
    except (ValueError, RecursionError, DataError) as error:
        raise DataError(
            f"{str(path)!r} is not a file of records ({error}); delete it and run the step again"
        ) from error


def _record(row: object) -> Record:
    if not isinstance(row, dict) or row.keys() != {"id", "source", "messages"}:
        raise DataError("a row must have id, source and messages and nothing else")
    if not isinstance(row["messages"], list) or not isinstance(row["source"], str):
        raise DataError("messages must be a list, and source a text")
    record = Record(tuple(_message(message) for message in row["messages"]), row["source"])
    if record.id != row["id"]:
        raise DataError(f"the row with id {row['id']!r} was changed: what it says has id {record.id!r}")
    return record


def _message(message: object) -> Message:
    if not isinstance(message, dict) or message.keys() != {"role", "content"}:
        raise DataError("a message must have role and content and nothing else")
    if message["role"] not in get_args(Role) or not isinstance(message["content"], str):
        raise DataError(f"a message must have a role of {', '.join(get_args(Role))} and a text")
    return Message(message["role"], message["content"])
