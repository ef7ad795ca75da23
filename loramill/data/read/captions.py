"""``metadata.csv``: a table of prompts whose answers lie in files of their own."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read.lines import LONGEST, as_text
from loramill.data.read.rows import ANSWERS, QUESTIONS, TASKS, read_row
from loramill.data.read.tables import table_rows
from loramill.records import Record

NAME = "metadata.csv"
FILE = "file"


def read_captions(raw: BinaryIO, name: str, config: ValidationConfig, folder: Path) -> Iterator[Record | Refused]:
    """Yield the rows of a ``metadata.csv`` that lies in ``folder``: a file's text answers its prompt.

    A table that brings its own answers is read as such.
    """
    for row in table_rows(raw, name, config):
        if isinstance(row, Refused):
            yield row
        elif not _is_caption(row[1], config):
            yield read_row(row[1], row[0], config, row[2])
        else:
            yield _caption(row[1], row[0], config, folder)


def captioned_files(captions: Path, config: ValidationConfig) -> set[Path]:
    """Return the files that a ``metadata.csv`` names as answers."""
    with captions.open("rb") as raw:
        rows = [row[1] for row in table_rows(raw, NAME, config) if not isinstance(row, Refused)]
    found = (inside(captions.parent, row[FILE]) for row in rows if _is_caption(row, config))
    return {path for path in found if path is not None} - {captions.resolve()}


def inside(folder: Path, name: str) -> Path | None:
    """Return the named file if it lies in ``folder``; a name that leads out of it is nobody's file."""
    try:
        path = (folder / name).resolve()
        return path if name and path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a link to itself, a NUL
        return None


def _is_caption(row: Mapping[str, str], config: ValidationConfig) -> bool:
    answers = {*ANSWERS, config.columns.answer}
    return FILE in row and bool(row.keys() & {*TASKS, *QUESTIONS}) and not row.keys() & answers


def _caption(row: Mapping[str, str], source: str, config: ValidationConfig, folder: Path) -> Record | Refused:
    path = inside(folder, row[FILE])
    if path is None:
        reason = f"file {row[FILE]!r} is not in {folder.name!r}; put it there or mend the name"
        return Refused(source, "no-such-file", reason)
    with path.open("rb") as raw, as_text(raw, newline=None) as text:
        answer = text.read(LONGEST) if text else None
    if answer is None or len(answer) == LONGEST:
        return Refused(
            source, "undecodable", f"file {row[FILE]!r} is no text, or no answer by its length; mend the file"
        )
    return read_row({**row, ANSWERS[0]: answer.strip()}, source, config, answer)
