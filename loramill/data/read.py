"""Read what people have: dialogue text, alpaca, ShareGPT, messages, prompt/completion, CSV; no format has to be named.

Every row keeps its source as ``file:line``. A row that cannot be read is returned with the reason, never skipped silently.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loramill.config import ValidationConfig
from loramill.errors import DataError
from loramill.records import Message, Record, Role

SUFFIXES = {".txt", ".json", ".jsonl", ".csv", ".tsv"}
SHAREGPT: Mapping[str, Role] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
QUESTIONS = ("instruction", "prompt", "question", "query", "问题", "提问")
LONGEST_CELL = 2**31 - 1
"""Python's own limit for a cell of a table is 131072 characters."""
ANSWERS = ("output", "completion", "response", "answer", "回答", "答案")


@dataclass(frozen=True)
class Refused:
    """A row that cannot be used, and why."""

    source: str
    reason: str
    text: str = ""
    """Its beginning."""


def read_folder(folder: Path, config: ValidationConfig) -> tuple[list[Record], list[Refused]]:
    """Read every file of a folder that may hold rows, in the order of their names.

    Raises:
        DataError: the folder is missing or holds no such file.
    """
    if not folder.is_dir():
        raise DataError(
            f"data folder {str(folder)!r} does not exist; put your rows there (.txt dialogues, .json, .jsonl, .csv). "
            "If the data lie in DVC, `dvc pull data.dvc` fetches them"
        )
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES)
    if not files:
        raise DataError(
            f"data folder {str(folder)!r} is empty: it holds no {', '.join(sorted(SUFFIXES))} file to learn from"
        )
    captions = folder / "metadata.csv"
    listed = _captioned_files(captions) if captions.is_file() else set()
    records: list[Record] = []
    refused: list[Refused] = []
    for file in files:
        if file.resolve() in listed:
            continue
        for row in read_file(file, config, file.relative_to(folder)):
            (records if isinstance(row, Record) else refused).append(row)  # type: ignore[arg-type]
    return records, refused


def read_file(path: Path, config: ValidationConfig, name: Path | None = None) -> Iterator[Record | Refused]:
    """Yield the rows of one file.

    Raises:
        DataError: it cannot be decoded.
    """
    text = read_text(path)
    name = name or Path(path.name)
    suffix = path.suffix.lower()
    if suffix in {".csv", ".tsv"}:
        yield from _table(text, path, name, "\t" if suffix == ".tsv" else ",")
    elif suffix == ".txt":
        yield from _dialogues(text, name, config)
    else:
        yield from _objects(text, name)


def read_text(path: Path) -> str:
    """Return a file's text, from UTF-8 with or without mark, or GB18030.

    Raises:
        DataError: it is neither.
    """
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\x00" not in text:
            return text
    raise DataError(
        f"{str(path)!r} is neither UTF-8 nor GB18030 text; save it as UTF-8 (in a spreadsheet: «CSV UTF-8»)"
    )


def _dialogues(text: str, name: Path, config: ValidationConfig) -> Iterator[Record | Refused]:
    """Yield one record per block of lines; blocks are parted by an empty line."""
    speakers: dict[str, Role] = dict.fromkeys(config.user_roles, "user")
    speakers |= dict.fromkeys(config.assistant_roles, "assistant")
    block: list[tuple[Role, str]] = []
    first = 1
    for number, line in enumerate([*text.splitlines(), ""], start=1):
        if not line.strip():
            if block:
                yield _conversation(block, f"{name}:{first}")
            block = []
            continue
        if not block:
            first = number
        speaker, content = _spoken(line, speakers)
        if speaker is not None:
            block.append((speaker, content))
        elif block:
            block[-1] = (block[-1][0], f"{block[-1][1]}\n{line.rstrip()}")
        else:
            known = "、".join([*config.user_roles[:2], *config.assistant_roles[:2]])
            yield Refused(
                f"{name}:{number}",
                f"the line opens with no known role ({known}: …); name yours in validation.user_roles",
                line[:60],
            )


def _spoken(line: str, speakers: Mapping[str, Role]) -> tuple[Role | None, str]:
    for mark in ("：", ":"):
        word, found, content = line.strip().partition(mark)
        if found and word.strip() in speakers:
            return speakers[word.strip()], content.strip()
    return None, line


def _objects(text: str, name: Path) -> Iterator[Record | Refused]:
    """Yield the rows of a JSON array, or of JSON lines whatever the file is called."""
    try:
        content = json.loads(text)
        rows = content if isinstance(content, list) else [content]
        parsed: list[tuple[int, object]] = list(enumerate(rows, start=1))
    except (ValueError, RecursionError):  # ValueError: an integer too long for Python
        parsed = []
        for number, line in enumerate(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                parsed.append((number, json.loads(line)))
            except (ValueError, RecursionError) as error:
                yield Refused(f"{name}:{number}", f"not valid JSON ({error})", line[:60])
    for number, row in parsed:
        yield _object(row, f"{name}:{number}")


def _object(row: Any, source: str) -> Record | Refused:
    """Turn an alpaca, ShareGPT, messages or prompt/completion object into a record."""
    if isinstance(row, list) and len(row) == 1:
        row = row[0]
    if not isinstance(row, dict):
        return Refused(
            source, f"a row must be an object with keys, this is a {type(row).__name__}", _writable(str(row)[:60])
        )
    for key in ("messages", "conversations"):
        if isinstance(row.get(key), list):
            return _turns(row[key], row.get("system"), source)
    question, answer = _first(row, QUESTIONS), _first(row, ANSWERS)
    if question is None or answer is None:
        return Refused(
            source,
            f"found no question and answer among its keys ({_writable(', '.join(map(str, row)))}); use instruction and output",
            "",
        )
    if isinstance(row.get("input"), str) and row["input"].strip():
        question = f"{question}\n{row['input']}"
    opening: list[tuple[Role, str]] = (
        [("system", row["system"])] if isinstance(row.get("system"), str) and row["system"] else []
    )
    past = _history(row.get("history") or [])
    if past is None:
        return Refused(source, "history must be a list of pairs of texts: [[question, answer], …]", "")
    return _conversation([*opening, *past, ("user", question), ("assistant", answer)], source)


def _history(pairs: Any) -> list[tuple[Role, str]] | None:
    """Return the turns of alpaca's ``history``, or nothing if it is no list of pairs of texts."""
    turns: list[tuple[Role, str]] = []
    for pair in pairs if isinstance(pairs, list) else [None]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(said, str) for said in pair):
            return None
        turns += [("user", pair[0]), ("assistant", pair[1])]
    return turns


def _turns(turns: list[Any], system: Any, source: str) -> Record | Refused:
    block: list[tuple[Role, str]] = [("system", system)] if isinstance(system, str) and system else []
    for turn in turns:
        role = turn.get("role", turn.get("from")) if isinstance(turn, dict) else None
        content = turn.get("content", turn.get("value")) if isinstance(turn, dict) else None
        if not isinstance(role, str) or role not in SHAREGPT or not isinstance(content, str):
            return Refused(source, f"a turn needs a role ({', '.join(SHAREGPT)}) and text, got {str(turn)[:80]!r}", "")
        block.append((SHAREGPT[role], content))
    return _conversation(block, source)


def _table(text: str, path: Path, name: Path, separator: str) -> Iterator[Record | Refused]:
    for number, row in _rows(text, path, separator):
        source = f"{name}:{number}"
        if {"file", "prompt"} <= row.keys():
            yield _caption(row, path, source)
        elif None in row:
            yield Refused(
                source,
                f"more cells than the header has columns ({len(row) - 1}); quote cells that hold a {separator!r}",
                "",
            )
        else:
            yield _object(row, source)


def _rows(text: str, path: Path, separator: str = ",") -> Iterator[tuple[int, dict[Any, Any]]]:
    """Yield the rows of a table by their columns in lower case, each with the number of its last line.

    Raises:
        DataError: it is no table.
    """
    csv.field_size_limit(LONGEST_CELL)
    reader = csv.DictReader(io.StringIO(text, newline=None), delimiter=separator)
    try:
        reader.fieldnames = [(column or "").strip().lower() for column in reader.fieldnames or []]
        for row in reader:
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{str(path)!r} cannot be read as a table, line {reader.line_num}: {error}") from error


def _caption(row: Mapping[Any, Any], path: Path, source: str) -> Record | Refused:
    """Turn a row with columns file and prompt into a record: the file's text answers the prompt."""
    answer, prompt = _inside(path.parent, row["file"] or ""), row["prompt"] or ""
    if answer is None:
        return Refused(source, f"file {row['file']!r} is not in {path.parent.name!r}", prompt)
    return _conversation([("user", prompt), ("assistant", read_text(answer).strip())], source)


def _captioned_files(captions: Path) -> set[Path]:
    """Return the files that a ``metadata.csv`` with columns file and prompt names as answers."""
    rows = [row for _, row in _rows(read_text(captions), captions) if {"file", "prompt"} <= row.keys()]
    found = (_inside(captions.parent, row["file"] or "") for row in rows)
    return {path for path in found if path is not None} - {captions.resolve()}


def _inside(folder: Path, name: str) -> Path | None:
    """Return the named file if it lies in ``folder``; a name that leads out of it is nobody's file."""
    try:
        path = (folder / name).resolve()
        return path if name and path.is_relative_to(folder.resolve()) and path.is_file() else None
    except (OSError, RuntimeError, ValueError):  # a name that is too long, a link to itself, a NUL
        return None


def _first(row: Mapping[str, Any], keys: tuple[str, ...]) -> str | None:
    return next((row[key] for key in keys if isinstance(row.get(key), str)), None)


def _writable(text: str) -> str:
    """Return a text that a file can hold: half a character becomes its escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _conversation(block: list[tuple[Role, str]], source: str) -> Record | Refused:
    messages = tuple(Message(role, content.strip()) for role, content in block)
    if any(_writable(message.content) != message.content for message in messages):
        return Refused(source, "half a character (a lone surrogate such as \\ud800), which no file can hold", "")
    spoken = [message.role for message in messages if message.role != "system"]
    in_turn = spoken == [("user", "assistant")[index % 2] for index in range(len(spoken))]
    if not spoken or not in_turn or messages[-1].role != "assistant":
        shown = spoken if messages and messages[-1].role != "system" else [message.role for message in messages]
        order = " → ".join(shown) or "nothing"
        return Refused(
            source, f"a conversation must go user → assistant and end with an answer, this one goes {order}", ""
        )
    return Record(messages, source)
