"""Train, validation and test: by content, in near-duplicate groups, and for ever.

A row's place follows from a hash of what it says, so adding, removing or reordering rows moves no other row. Rows that are
nearly the same stay together. A row that has a place keeps it: the ledger of earlier splits says which.

Where two parts meet, train gives way to validation, and both give way to test: a row that is nearly a test row, even one that
was taken out of the data since, is refused. One exception: when a test row was replaced by a row that is nearly the same, the
new row is its corrected version and takes its place in the test.

A row that was forgotten on request is refused for ever, and the ledger keeps nothing of it.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from loramill.config import SplitConfig
from loramill.data.alike import Pairs, alike_across, alike_groups, connected
from loramill.data.findings import Refused
from loramill.data.fingerprints import Fingerprints, Rows, extended, fingerprints
from loramill.data.ledger import LEVELS, PARTS, Ledger, Part, Print, without
from loramill.errors import DataError
from loramill.records import Record

NEW = -1
TRAIN, VALIDATION, TEST = range(3)
BEGINNING = 60
"""Characters of a refused row's question that are shown."""

HIGHER = (0.7, 0.8, 0.9)
"""Thresholds that are tried for rows that cannot be parted."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Each row's part, the rows that got none, and what to remember."""

    parts: Mapping[Part, list[Record]]
    refused: list[Refused]
    ledger: Ledger
    largest: int = 0
    """Rows of the greatest near-duplicate group: they can only go together."""


@dataclass(frozen=True)
class _Rows:
    """Today's rows, and behind them those that are gone and left a fingerprint."""

    records: Sequence[Record]
    ids: Sequence[str]
    prints: tuple[Fingerprints, Fingerprints]
    """At question and at answer level."""
    groups: tuple[Rows, Rows]
    """Near-duplicates at each level, by their smallest row."""
    threshold: float

    @property
    def here(self) -> Mask:
        """Which are in the data today."""
        return np.arange(len(self.ids)) < len(self.records)

    def alike(self, ours: Mask, theirs: Mask) -> list[Pairs]:
        """Return all near-duplicates (one of ours, one of theirs, likeness) at each level."""
        return [
            alike_across(prints, group, np.flatnonzero(ours), np.flatnonzero(theirs), self.threshold)
            for prints, group in zip(self.prints, self.groups, strict=True)
        ]


def split_records(records: Sequence[Record], config: SplitConfig, ledger: Ledger | None = None) -> Split:
    """Give each record its part, or refuse it.

    Args:
        records: clean rows.
        config: shares and threshold.
        ledger: earlier decisions; they stay as they are.
    """
    ledger = without(ledger or Ledger(), config.forgotten)
    forgotten = [_forgotten(record) for record in records if record.id in config.forgotten]
    records = [record for record in records if record.id not in config.forgotten]
    rows = _gathered(records, ledger, config.near_duplicate)
    place = np.array([PARTS.index(ledger.places[id]) if id in ledger.places else NEW for id in rows.ids], np.int64)
    place[_heirs(rows, place, ledger)] = TEST
    leaks = _refused(rows, place == TEST, rows.here & (place != TEST), "test", "which only judges")
    place = _placed(rows, place, ~_mask(rows, leaks), config)
    train = rows.here & (place == TRAIN) & ~_mask(rows, leaks)
    validation = rows.here & (place == VALIDATION) & ~_mask(rows, leaks)
    both = leaks | _refused(rows, validation, train, "validation", "which chooses the settings")
    kept = [(record, PARTS[place[row]]) for row, record in enumerate(records) if row not in both]
    parts = {part: [record for record, own in kept if own == part] for part in PARTS}
    largest = max(Counter(_groups(rows)[rows.here].tolist()).values(), default=0)
    refused = [*forgotten, *(both[row] for row in sorted(both))]
    return Split(parts, refused, _remembered(rows, ledger, kept), largest)


def check_parts(parts: Mapping[Part, Sequence[Record]], config: SplitConfig, largest: int = 0) -> None:
    """Refuse a split with a part that is too small to serve.

    Args:
        parts: the rows by part.
        config: shares and least sizes.
        largest: rows of the greatest near-duplicate group; if most rows are in it, more rows like them would not help.

    Raises:
        DataError: too few rows for a part; it says how many are missing.
    """
    rows = sum(len(part) for part in parts.values())
    least = {"test": config.min_test_rows, "validation": 1, "train": 1}
    share = {"test": config.test, "validation": config.validation, "train": 1 - config.test - config.validation}
    use = {"test": "decide anything", "validation": "choose settings by", "train": "learn from"}
    for part in ("test", "validation", "train"):
        missing = least[part] - len(parts[part])
        if missing > 0 and largest > rows / 2:
            raise DataError(
                f"{rows} rows leave {len(parts[part])} for {part}, too few to {use[part]}: {largest} of them are so much alike "
                f"(question or answer, each with the next, split.near_duplicate {config.near_duplicate}) that they must stay "
                "together, as rows from a template are. Write rows in other words, or "
                + _where_they_part([row for part in parts.values() for row in part], config.near_duplicate)
            )
        if missing > 0:
            raise DataError(
                f"{rows} rows leave {len(parts[part])} for {part}, too few to {use[part]}: {missing} missing of "
                f"{least[part]}. Write about {math.ceil(missing / share[part])} more rows that differ from these, or raise "
                f"the share of {part} in split ({share[part]:.2g})"
            )


def _where_they_part(records: Sequence[Record], threshold: float) -> str:
    """Say what a higher threshold would give, and what it would cost."""
    for higher in (at for at in HIGHER if at > threshold):
        rows = _gathered(records, Ledger(), higher)
        largest = max(Counter(_groups(rows).tolist()).values())
        if largest <= len(records) / 2:
            return (
                f"raise split.near_duplicate: at {higher} at most {largest} stay together, but then a test row may share up to "
                f"{higher:.0%} of a training row, and good scores say less"
            )
    return f"leave most of them out: even at {HIGHER[-1]} more than half stay together"


def _gathered(records: Sequence[Record], ledger: Ledger, threshold: float) -> _Rows:
    ids = [record.id for record in records]
    gone = sorted(ledger.prints.keys() - set(ids))
    question, answer = (
        extended(
            fingerprints([getattr(record, level) for record in records]),
            [getattr(ledger.prints[id], level) for id in gone],
        )
        for level in LEVELS
    )
    prints = (question, answer)
    return _Rows(
        records, [*ids, *gone], prints, (alike_groups(question, threshold), alike_groups(answer, threshold)), threshold
    )


def _heirs(rows: _Rows, place: Rows, ledger: Ledger) -> list[int]:
    """Return the new rows that are corrected versions of test rows: those left the data as these came.

    Each gone test row has one heir at most, the most alike; a row that is also nearly an old train or validation row is none.
    """
    vacated = ~rows.here & (place == TEST) & np.array([id in ledger.last for id in rows.ids], bool)
    new = rows.here & (place == NEW)
    old = rows.here & ((place == TRAIN) | (place == VALIDATION))
    if not vacated.any():
        return []
    barred = {int(row) for pairs in rows.alike(new, old) for row in pairs[0]}
    claims = [
        (-value, rows.ids[gone], rows.ids[row], int(row))
        for pairs in rows.alike(vacated, new)
        for gone, row, value in zip(*(column.tolist() for column in pairs), strict=True)
        if row not in barred
    ]
    heirs: dict[str, int] = {}
    for _, gone, _, row in sorted(claims):
        if gone not in heirs and row not in heirs.values():
            heirs[gone] = row
    return list(heirs.values())


def _refused(rows: _Rows, ours: Mask, theirs: Mask, part: Part, purpose: str) -> dict[int, Refused]:
    """Return those of ``theirs`` that are nearly one of ``ours``, each with the row that it is most alike."""
    found: dict[int, tuple[float, str, str, int]] = {}
    for level, pairs in zip(LEVELS, rows.alike(ours, theirs), strict=True):
        for own, row, value in zip(*(column.tolist() for column in pairs), strict=True):
            found[row] = max(found.get(row, (0.0, "", "", -1)), (value, rows.ids[own], level, own))
    return {row: _refusal(rows, row, best, part, purpose) for row, best in found.items()}


def _refusal(rows: _Rows, row: int, best: tuple[float, str, str, int], part: Part, purpose: str) -> Refused:
    value, id, level, own = best
    where = rows.records[own].source if own < len(rows.records) else f"id {id}, no longer in the data"
    reason = (
        f"its {level} is {value:.0%} the same as that of a {part} row ({where}), {purpose}; split.near_duplicate allows less "
        f"than {rows.threshold:.0%}. Take one of the two out, or write this one anew"
    )
    record = rows.records[row]
    return Refused(record.source, f"matches-{part}-row", reason, record.question[:BEGINNING])


def _forgotten(record: Record) -> Refused:
    """Refuse a row without repeating a word of it."""
    reason = (
        f"row {record.id} was forgotten on request (split.forgotten in conf/): nothing may learn it, or be judged by it. "
        "Take it out of its file too"
    )
    return Refused(record.source, "forgotten", reason)


def _mask(rows: _Rows, some: Mapping[int, Refused]) -> Mask:
    mask = np.zeros(len(rows.ids), bool)
    mask[list(some)] = True
    return mask


def _placed(rows: _Rows, place: Rows, free: Mask, config: SplitConfig) -> Rows:
    """Return the parts after each new row went with the old rows of its group, or by hash with its new group."""
    group = _groups(rows)
    least: dict[int, str] = {}
    for row in np.flatnonzero(free & (place == NEW)).tolist():
        least[group[row]] = min(rows.ids[row], least.get(group[row], rows.ids[row]))
    part = {own: _by_hash(id, config) for own, id in least.items()}
    for old in (
        VALIDATION,
        TRAIN,
    ):  # in a group of both, new rows go to train, and those next to validation are refused
        part |= dict.fromkeys(group[free & (place == old)].tolist(), old)
    return np.array(
        [part.get(own, TRAIN) if at == NEW else at for own, at in zip(group.tolist(), place.tolist(), strict=True)]
    )


def _groups(rows: _Rows) -> Rows:
    """Return each row's group: the rows that its question or its answer is nearly the same as, and theirs in turn."""
    return connected(len(rows.ids), np.tile(np.arange(len(rows.ids)), 2), np.concatenate(rows.groups))


def _by_hash(id: str, config: SplitConfig) -> int:
    place = int(hashlib.sha256(f"split:{id}".encode()).hexdigest()[:12], 16) / 16**12
    if place < config.test:
        return TEST
    return VALIDATION if place < config.test + config.validation else TRAIN


def _remembered(rows: _Rows, ledger: Ledger, kept: Sequence[tuple[Record, Part]]) -> Ledger:
    """Return the ledger with today's places, and fingerprints of the test rows and of all rows that are gone."""
    places = {**ledger.places, **{record.id: part for record, part in kept}}
    gone = range(len(rows.records), len(rows.ids))
    tests = [row for row, id in enumerate(rows.ids) if row in gone or places.get(id) == "test"]
    question, answer = rows.prints
    prints = {rows.ids[row]: Print(question[row], answer[row]) for row in tests}
    return Ledger(places, prints, frozenset(record.id for record, _ in kept))
