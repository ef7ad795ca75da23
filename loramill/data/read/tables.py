"""Tables as text: CSV and TSV, the separator guessed, cells over many lines, and what a broken quote must not swallow."""

import csv
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import BinaryIO

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read.lines import LONGEST, Line, as_text, not_text, read_lines, shown, too_long, writable
from loramill.data.read.rows import (
    SEARCHED,
    above_header,
    column_names,
    find_header,
    looks_like_row,
    read_row,
    unknown_columns,
)
from loramill.records import Record

SEPARATORS = ",;\t|"


def read_table(raw: BinaryIO, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    """Yield the rows of a CSV or TSV file by its header; a row's source is its first line."""
    for row in table_rows(raw, name, config):
        if isinstance(row, Refused):
            yield row
        else:
            source, cells, text = row
            yield read_row(cells, source, config, text)


def table_rows(
    raw: BinaryIO, name: str, config: ValidationConfig
) -> Iterator[tuple[str, dict[str, str], str] | Refused]:
    """Yield source, cells by the columns' names in lower case, and text of each row of a table."""
    with as_text(raw, newline="") as text:
        if text is None:
            yield not_text(name)
        else:
            yield from _table(_Records(read_lines(text, name), name), config)


def _table(records: "_Records", config: ValidationConfig) -> Iterator[tuple[str, dict[str, str], str] | Refused]:
    header = yield from _header(records, config)
    for record in records:
        if isinstance(record, Refused):
            yield record
            continue
        cells = _without_empty_tail(record.cells, len(header))
        if len(cells) != len(header):
            yield _uneven(record, header, records.separator)
        elif column_names(cells) == header:
            reason = "the header once more, as where files were put one behind the other; take the line out"
            yield Refused(record.source, "repeated-header", reason, shown(record.text))
        else:
            yield record.source, dict(zip(header, cells, strict=True)), record.text


class _Row:
    """The cells of one row."""

    __slots__ = ("cells", "source", "text")

    def __init__(self, source: str, cells: list[str], text: str) -> None:
        self.source, self.cells, self.text = source, cells, text


class _Records:
    """The rows of a table, one after the other, under a separator that may be set once the header is known.

    A quote that is never closed would swallow the rest of the file. Such a row is refused alone, and the lines behind it are
    read again; the first of them that closes a quote is its rest, and no row.
    """

    def __init__(self, lines: Iterator[Line], name: str) -> None:
        csv.field_size_limit(LONGEST)
        self.separator = ","
        self._lines = lines
        self.name = name
        self._again: deque[Line] = deque()
        self._in_doubt = False

    def __iter__(self) -> Iterator[_Row | Refused]:
        while (line := self.next_line()) is not None:
            if line.refused:
                yield line.refused
            elif line.text.strip("\r\n \t" if self.separator != "\t" else "\r\n"):
                yield self._record(line)

    def put_back(self, line: Line) -> None:
        """Read a line once more."""
        self._again.appendleft(line)

    def next_line(self) -> Line | None:
        """Return the next line, or nothing at the end."""
        return self._again.popleft() if self._again else next(self._lines, None)

    def _record(self, first: Line) -> _Row | Refused:
        source = f"{self.name}:{first.number}"
        taken: list[Line] = []
        try:
            cells = next(csv.reader(self._feed(first, taken), delimiter=self.separator, strict=True))
        except csv.Error as error:
            return self._refuse(source, taken, str(error))
        if self._in_doubt and len(taken) == 1 and first.text.count('"') % 2:
            self._in_doubt = False
            reason = "it closes a quote that a broken row before it opened; mend that row"
            return Refused(source, "broken-quotes", reason, shown(first.text))
        damaged = next((line.refused for line in taken if line.refused), None)
        if damaged:
            reason = f"a line of this row is refused ({damaged.source}); mend that line"
            return Refused(source, damaged.rule, reason, shown(first.text))
        return _Row(source, cells, first.text)

    def _feed(self, first: Line, taken: list[Line]) -> Iterator[str]:
        """Hand a row's lines to the parser, which asks for the next one as long as a quote is open."""
        line: Line | None = first
        size = 0
        while line is not None and size <= LONGEST:
            taken.append(line)
            size += len(line.text)
            yield line.text
            line = self.next_line()
        if line is not None:
            self.put_back(line)

    def _refuse(self, source: str, taken: Sequence[Line], error: str) -> Refused:
        self._again.extendleft(reversed(taken[1:]))
        self._in_doubt = True
        if len(taken[0].text) >= LONGEST:
            return too_long(source, taken[0].text)
        reason = f"its quotes are broken ({writable(error)}); close them, and write a quote inside a cell twice"
        return Refused(source, "broken-quotes", reason, shown(taken[0].text))


def _header(records: _Records, config: ValidationConfig) -> Generator[Refused, None, list[str]]:
    """Set the separator and return the names of the columns; what stands above them, and a row that names none, is refused."""
    first = yield from _first_lines(records, config)
    if not first:
        return []
    rows = [_names(line.text, config) for line in first]
    place = find_header([names for names, _ in rows], config) or 0
    for line in first[:place]:
        yield above_header(f"{records.name}:{line.number}", shown(line.text))
    for line in reversed(first[place:]):
        records.put_back(line)
    records.separator = rows[place][1]
    return (yield from _columns(records, config))


def _first_lines(records: _Records, config: ValidationConfig) -> Generator[Refused, None, list[Line]]:
    """Return the lines down to the header, or as many as are searched for it."""
    first: list[Line] = []
    names: list[list[str]] = []
    for line in iter(records.next_line, None):
        if line.refused:
            yield line.refused
        elif line.text.strip() and not (line.text.lower().startswith("sep=") and len(line.text.strip("\r\n")) == 5):
            first.append(line)  # sep= is Excel's own hint, which the header tells as well
            names.append(_names(line.text, config)[0])
            if len(first) == SEARCHED or find_header(names, config) is not None:
                break
    return first


def _columns(records: _Records, config: ValidationConfig) -> Generator[Refused, None, list[str]]:
    for record in records:
        if isinstance(record, _Row):
            names = column_names(record.cells)
            if not looks_like_row(dict.fromkeys(names), config):
                yield unknown_columns(record.source, names)
            return names
        yield record
    return []


def _names(line: str, config: ValidationConfig) -> tuple[list[str], str]:
    """Return the cells of a line as names, and the separator that makes most of them."""

    def cells(separator: str) -> list[str]:
        return column_names(next(csv.reader([line], delimiter=separator), []))

    def likely(separator: str) -> tuple[bool, int]:
        names = cells(separator)
        return looks_like_row(dict.fromkeys(names), config) and len(names) > 1, len(names)

    best = max(SEPARATORS, key=likely)
    return cells(best), best


def _without_empty_tail(cells: list[str], columns: int) -> list[str]:
    """Return a row without the empty cells that spreadsheets leave behind its last one."""
    return cells[:columns] if not any(cell.strip() for cell in cells[columns:]) else cells


def _uneven(record: _Row, header: Sequence[str], separator: str) -> Refused:
    have, known = len(record.cells), len(header)
    rule, what = ("too-many-cells", "more") if have > known else ("too-few-cells", "fewer")
    reason = f"{what} cells than the header has columns ({have}, not {known}); quote cells that hold a {separator!r}"
    return Refused(record.source, rule, reason, shown(record.text))
