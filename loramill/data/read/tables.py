"""Tables as text: CSV and TSV, the separator guessed, cells over many lines, and what a broken quote must not swallow."""

import csv
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from typing import BinaryIO

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read.lines import LONGEST, Line, as_text, not_text, read_lines, shown, too_long, writable
from loramill.data.read.rows import looks_like_row, read_row
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
        elif len(record.cells) != len(header):
            yield _uneven(record, header, records.separator)
        else:
            yield record.source, dict(zip(header, record.cells, strict=True)), record.text


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
        self.separator = ","
        self._lines = lines
        self._name = name
        self._again: deque[Line] = deque()
        self._in_doubt = False

    def __iter__(self) -> Iterator[_Row | Refused]:
        csv.field_size_limit(LONGEST)
        while (line := self.next_line()) is not None:
            if line.refused:
                yield line.refused
            elif line.text.strip("\r\n \t\ufeff" if self.separator != "\t" else "\r\n"):
                yield self._record(line)

    def put_back(self, line: Line) -> None:
        """Read a line once more."""
        self._again.appendleft(line)

    def next_line(self) -> Line | None:
        """Return the next line, or nothing at the end."""
        return self._again.popleft() if self._again else next(self._lines, None)

    def _record(self, first: Line) -> _Row | Refused:
        source = f"{self._name}:{first.number}"
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
    """Set the separator and return the names of the columns; what stands before the header and is no row is refused."""
    for line in iter(records.next_line, None):
        if line.refused:
            yield line.refused
        elif line.text.lower().startswith("sep=") and len(line.text.strip("\r\n")) == 5:
            records.separator = line.text[4]  # Excel's own hint
        elif line.text.strip():
            records.put_back(line)
            records.separator = max(SEPARATORS, key=lambda mark: _likely(line.text, mark, config))
            break
    header = next((record for record in records if isinstance(record, _Row)), None)
    return [cell.strip().lower() for cell in header.cells] if header else []


def _likely(line: str, separator: str, config: ValidationConfig) -> tuple[bool, int]:
    cells = next(csv.reader([line], delimiter=separator), [])
    return looks_like_row(dict.fromkeys(cells), config) and len(cells) > 1, len(cells)


def _uneven(record: _Row, header: Sequence[str], separator: str) -> Refused:
    have, known = len(record.cells), len(header)
    rule, what = ("too-many-cells", "more") if have > known else ("too-few-cells", "fewer")
    reason = f"{what} cells than the header has columns ({have}, not {known}); quote cells that hold a {separator!r}"
    return Refused(record.source, rule, reason, shown(record.text))
