"""JSON: an array, JSON lines, a map from names to rows, or objects one after the other, whatever the file is called."""

import io
import json
import re
from collections.abc import Iterator
from typing import BinaryIO

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read.lines import (
    CONFLICT_BEGINS,
    ESCAPED,
    as_text,
    not_text,
    read_lines,
    shown,
    undecodable,
    writable,
)
from loramill.data.read.refusal import UnreadableRowError
from loramill.data.read.rows import looks_like_row, read_row
from loramill.data.read.scanner import Scanner, strict_decoder
from loramill.records import Record

BEGINNING = 2**16
"""Characters of the first two lines that tell JSON lines from a document."""
CONFLICT = re.compile(r"\n>{7}[^\n]*")
MARKER = re.compile(r"^(<{7}|={7}|>{7})", re.MULTILINE)


def read_objects(raw: BinaryIO, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    """Yield the rows of a JSON file, each with the line in which it starts."""
    with as_text(raw, newline="") as text:
        by_line = text is None or _has_a_row_per_line(text)
    with as_text(raw, newline="" if by_line else None) as text:
        if text is None:
            yield not_text(name)
        else:
            yield from _lines(text, name, config) if by_line else _document(Scanner(text), name, config)


def _has_a_row_per_line(text: io.TextIOWrapper) -> bool:
    first, second = _two_lines(text)
    if _is_complete(first):
        return second != ""
    return not first.startswith("[") and (second.startswith("{") or not first.startswith("{"))


def _two_lines(text: io.TextIOWrapper) -> tuple[str, str]:
    """Return the beginnings of the first two lines that are not empty."""
    found: list[str] = []
    while len(found) < 2 and (line := text.readline(BEGINNING)):
        if line.strip() and not line.startswith(CONFLICT_BEGINS):
            found.append(line.strip())
    return (*found, "", "")[:2]  # type: ignore[return-value]


def _is_complete(line: str) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _lines(text: io.TextIOWrapper, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    decoder = strict_decoder()
    for line in read_lines(text, name):
        if line.refused:
            yield line.refused
        elif line.text.strip():
            yield _line(line.text.strip(), f"{name}:{line.number}", decoder, config)


def _line(text: str, source: str, decoder: json.JSONDecoder, config: ValidationConfig) -> Record | Refused:
    try:
        row = decoder.decode(text)
    except UnreadableRowError as error:
        return Refused(source, error.rule, error.reason, shown(text))
    except ValueError as error:  # an integer too long for Python among them
        return Refused(source, "not-json", f"not valid JSON ({writable(str(error))}); mend the line", shown(text))
    except RecursionError:
        return Refused(source, "too-deep", "nested too deep for a row; write it flat", shown(text))
    return read_row(row, source, config, text)


def _document(scanner: Scanner, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    """Yield the rows of one value after the other; brackets around rows are looked through."""
    while scanner.next_char():
        yield from _value(scanner, name, config)


def _value(scanner: Scanner, name: str, config: ValidationConfig, depth: int = 0) -> Iterator[Record | Refused]:
    opening = scanner.next_char()
    if opening == "[" or (opening == "{" and depth < 2 and _is_map(scanner, config)):
        yield from _members(scanner, name, config, depth)
    else:
        yield _row(scanner, name, config)


def _is_map(scanner: Scanner, config: ValidationConfig) -> bool:
    """Say whether an object holds rows under names instead of being one; one too long for a row surely does."""
    try:
        content = scanner.peek()
    except (UnreadableRowError, ValueError, RecursionError):
        return scanner.is_long
    return (
        isinstance(content, dict)
        and not looks_like_row(content, config)
        and any(isinstance(value, dict | list) for value in content.values())
        and all(isinstance(value, dict | list) for value in content.values())
    )


def _members(scanner: Scanner, name: str, config: ValidationConfig, depth: int) -> Iterator[Record | Refused]:
    """Yield the rows between two brackets: those of an array, or those that a map has under names."""
    begin, closing = scanner.line, "]" if scanner.next_char() == "[" else "}"
    scanner.last = ""
    scanner.take()
    while (char := scanner.next_char()) and char != closing:
        if char == ",":
            scanner.take()
        elif closing == "]":
            yield _row(scanner, name, config)
        elif scanner.skip_key():
            yield from _value(scanner, name, config, depth + 1)
        else:
            yield _broken(scanner, name, scanner.line, "a name in quotes and a colon should stand here")
    if char:
        scanner.take()
    if char or scanner.last == closing:  # the bracket went with a broken row
        return
    reason = (
        f"not valid JSON: the bracket of line {begin} is never closed, so rows may be missing; bring the whole file"
    )
    yield Refused(f"{name}:{scanner.line}", "truncated", reason)


def _row(scanner: Scanner, name: str, config: ValidationConfig) -> Record | Refused:
    line = scanner.line
    source = f"{name}:{line}"
    try:
        row, text = scanner.decode()
    except UnreadableRowError as error:
        return _skipped(scanner, Refused(source, error.rule, error.reason, shown(scanner.rest)))
    except ValueError as error:
        return _broken(scanner, name, line, writable(str(error)))
    except RecursionError:
        refused = Refused(source, "too-deep", "nested too deep for a row; write it flat", shown(scanner.rest))
        return _skipped(scanner, refused)
    return undecodable(source, text) if ESCAPED.search(text) else read_row(row, source, config, text)


def _broken(scanner: Scanner, name: str, line: int, what: str) -> Refused:
    text = shown(scanner.rest)
    if text.startswith(CONFLICT_BEGINS):
        scanner.skip(CONFLICT)
        reason = (
            f"a merge conflict that nobody resolved, up to line {scanner.line}; choose one side and delete the markers"
        )
        return _ending(scanner, Refused(f"{name}:{line}", "merge-conflict", reason, text))
    if MARKER.search(scanner.skip_row()):
        reason = "a merge conflict that nobody resolved; choose one side and delete the markers"
        return _ending(scanner, Refused(f"{name}:{line}", "merge-conflict", reason, text))
    refused = Refused(f"{name}:{line}", "not-json", f"not valid JSON ({what}); mend the row", text)
    return _ending(scanner, refused)


def _skipped(scanner: Scanner, refused: Refused) -> Refused:
    scanner.skip_row()
    return _ending(scanner, refused)


def _ending(scanner: Scanner, refused: Refused) -> Refused:
    """Say so where nothing after a broken row could be told apart."""
    if not scanner.at_end:
        return refused
    rest = "; rows behind it in this file, if there are any, could not be read"
    return Refused(refused.source, refused.rule, refused.reason + rest, refused.text)
