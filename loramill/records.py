"""The one shape that a row has after reading: a short conversation with an identity and a source."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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
        return self.messages[:-1]


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
        return [_record(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{str(path)!r} is not a file of records ({error}); delete it and run the step again"
        ) from error


def _record(row: dict[str, object]) -> Record:
    messages = row["messages"]
    assert isinstance(messages, list)
    return Record(tuple(Message(**message) for message in messages), str(row["source"]))
