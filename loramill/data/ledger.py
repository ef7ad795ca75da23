"""What earlier splits decided, so that later ones keep to it: each row's part, and fingerprints of rows to know again.

The ledger holds no text: a row is its id, a fingerprint the hashes of its 3-character pieces (short pieces can be guessed by
trying, so treat the file like the rows). Fingerprints are kept of every test row, for ever, and of every other row that was
taken out of the data: an edited row is known again by them.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from loramill.data.fingerprints import fingerprints
from loramill.errors import DataError
from loramill.records import Record, read_records
from loramill.reports import read_json, write_json

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")
LEVELS: Final = ("question", "answer")
VERSION: Final = 2
FILE: Final = "ledger.json"


@dataclass(frozen=True)
class Print:
    """The fingerprint of one row."""

    question: NDArray[np.uint32]
    answer: NDArray[np.uint32]


@dataclass(frozen=True)
class Ledger:
    """Earlier decisions."""

    places: Mapping[str, Part] = field(default_factory=dict)
    """Part of every row that ever had one, by record id."""
    prints: Mapping[str, Print] = field(default_factory=dict)
    """Fingerprints by record id."""
    last: frozenset[str] = frozenset()
    """Ids of the rows that lay in the last split; its own files say it, so the ledger does not."""


def without(ledger: Ledger, ids: Iterable[str]) -> Ledger:
    """Return a ledger that never knew some rows."""
    gone = frozenset(ids)
    places = {id: part for id, part in ledger.places.items() if id not in gone}
    prints = {id: kept for id, kept in ledger.prints.items() if id not in gone}
    return Ledger(places, prints, ledger.last - gone)


def prints_of(records: Sequence[Record]) -> dict[str, Print]:
    """Return the fingerprint of each record, by id."""
    questions = fingerprints([record.question for record in records])
    answers = fingerprints([record.answer for record in records])
    return {record.id: Print(questions[row], answers[row]) for row, record in enumerate(records)}


def read_ledger(folder: Path, current: Iterable[Record] = ()) -> Ledger:
    """Return what the last split left in ``folder``; without a ledger file, what its three parts say.

    Args:
        folder: what ``split`` wrote; it may not exist yet.
        current: today's rows; those of the last split that are not among them get a fingerprint.

    Raises:
        DataError: the ledger is damaged or from a newer version.
    """
    files = {part: folder / f"{part}.jsonl" for part in PARTS}
    parts = {part: read_records(file) if file.is_file() else [] for part, file in files.items()}
    last: dict[str, Part] = {record.id: part for part in PARTS for record in parts[part]}
    places, prints = _decoded(folder / FILE) if (folder / FILE).is_file() else ({}, {})
    places = last | places
    known = {record.id for record in current if places.get(record.id) != "test"} | prints.keys()
    unknown = [record for part in PARTS for record in parts[part] if record.id not in known]
    return Ledger(places, prints | prints_of(unknown), frozenset(last))


def write_ledger(folder: Path, ledger: Ledger) -> Path:
    """Write the ledger into ``folder``."""
    prints = {id: {level: _text(getattr(kept, level)) for level in LEVELS} for id, kept in ledger.prints.items()}
    return write_json(folder / FILE, {"version": VERSION, "places": ledger.places, "prints": prints})


def _decoded(path: Path) -> tuple[dict[str, Part], dict[str, Print]]:
    try:
        content = read_json(path)
        if isinstance(content, dict) and "version" not in content:  # the first ledgers were places and nothing else
            content = {"version": VERSION, "places": content, "prints": {}}
        version = int(content["version"])
        if version == VERSION:
            return _places(content["places"]), {id: _print(kept) for id, kept in content["prints"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{str(path)!r} is not a ledger of splits ({type(error).__name__}: {error}): the places of rows are not known, "
            f"and guessing could put a test row into training. Bring the file back (`dvc checkout {path.parent}`), or delete "
            "it: the three parts beside it then say the places, and only rows that were taken out earlier are forgotten"
        ) from error
    raise DataError(
        f"{str(path)!r} has version {version}, this loramill reads up to {VERSION}: update loramill (`make setup`)"
    )


def _places(content: dict[str, Any]) -> dict[str, Part]:
    wrong = next((part for part in content.values() if part not in PARTS), None)
    if wrong is not None:
        raise ValueError(f"a place must be {', '.join(PARTS)}, not {wrong!r}")
    return content


def _print(content: dict[str, str]) -> Print:
    return Print(*(_values(content[level]) for level in LEVELS))


def _text(values: NDArray[np.uint32]) -> str:
    return base64.b64encode(values.astype("<u4").tobytes()).decode()


def _values(text: str) -> NDArray[np.uint32]:
    values = np.frombuffer(base64.b64decode(text, validate=True), "<u4").astype(np.uint32)
    if not len(values) or (values[1:] <= values[:-1]).any():
        raise ValueError("a fingerprint must be hashes in ascending order")
    return values
