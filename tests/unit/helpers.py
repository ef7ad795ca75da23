"""Rows that are nothing like each other, and short ways to make files for the readers."""

import random
from pathlib import Path

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read import read_folder
from loramill.records import Message, Record
from tests.factories import record


def story(seed: int, size: int = 24) -> Record:
    """A row of characters drawn at random: unlike every other one."""
    draw = random.Random(seed)
    said = ["".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(size)) for _ in range(2)]
    return record(said[0], said[1], f"stories.txt:{seed}")


def stories(count: int, start: int = 0) -> list[Record]:
    return [story(seed) for seed in range(start, start + count)]


def conversation(*said: str) -> Record:
    """Turns that go user, assistant, user, assistant."""
    roles = ("user", "assistant")
    return Record(tuple(Message(roles[index % 2], text) for index, text in enumerate(said)), "talk.txt:1")


def read(
    folder: Path, files: dict[str, str | bytes], config: ValidationConfig | None = None
) -> tuple[list[Record], list[Refused]]:
    """Write files into a folder and read it."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = list(read_folder(folder, config or ValidationConfig()))
    refused = [row for row in rows if isinstance(row, Refused)]
    return [row for row in rows if isinstance(row, Record)], refused


def said(row: Record) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in row.messages]
