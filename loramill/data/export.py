"""Dropped rows as a table that a spreadsheet opens, so that a person can mend them."""

import csv
import io
from collections.abc import Iterator
from typing import Final

from loramill.data.contract import Outcome
from loramill.data.spool import Spool

COLUMNS: Final = ("source", "rule", "reason", "question", "answer")
MARK: Final = "\ufeff"
"""Without it Excel reads UTF-8 as something else."""
FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins so is run by a spreadsheet; an apostrophe before it makes it text."""


def dropped_csv(outcome: Outcome, spool: Spool) -> Iterator[str]:
    """Yield the table line by line: a header, then each dropped row with what it says, redacted, and why it was dropped.

    Of a row that could not be read there is only its beginning, in the column of the question.
    """
    yield MARK + _line(COLUMNS)
    for row, place in zip(outcome.dropped, outcome.dropped_places, strict=True):
        said = (row.text, "") if place is None else (spool[place].question, spool[place].answer)
        yield _line((row.source, row.rule, row.reason, *said))


def _line(cells: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in cells])
    return line.getvalue()
