"""Train, validation and test: by content, in near-duplicate groups, and for ever.

A row's place follows from a hash of what it says, so adding, removing or reordering rows moves no other row. Rows that are
nearly the same stay together. A row that has a place keeps it: the ledger of earlier splits says which.
"""

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final, Literal

from loramill.config import SplitConfig
from loramill.data.alike import alike_pairs, groups
from loramill.errors import DataError
from loramill.records import Record

Part = Literal["train", "validation", "test"]
PARTS: Final[tuple[Part, ...]] = ("train", "validation", "test")


def split_records(
    records: Sequence[Record], config: SplitConfig, ledger: Mapping[str, Part] | None = None
) -> dict[Part, list[Record]]:
    """Give each record its part.

    Args:
        records: clean rows.
        config: shares and threshold.
        ledger: parts by record id from earlier splits; they stay as they are.

    Raises:
        DataError: fewer test rows than can decide anything.
    """
    ledger = ledger or {}
    leaders = _leaders(records, config.near_duplicate)
    grouped: defaultdict[int, list[Record]] = defaultdict(list)
    for record, leader in zip(records, leaders, strict=True):
        grouped[leader].append(record)
    parts: dict[Part, list[Record]] = {part: [] for part in PARTS}
    for group in grouped.values():
        part = _part_of_group(group, config, ledger)
        for record in group:
            parts[ledger.get(record.id, part)].append(record)
    _check(parts, config, len(records))
    return parts


def _leaders(records: Sequence[Record], threshold: float) -> list[int]:
    questions = alike_pairs([record.question for record in records], threshold)
    answers = alike_pairs([record.answer for record in records], threshold)
    return groups(len(records), [*questions, *answers])


def _part_of_group(group: Sequence[Record], config: SplitConfig, ledger: Mapping[str, Part]) -> Part:
    """Return where a group's new rows go: to test if any old one is there, else with the old ones, else by hash."""
    known = {ledger[record.id] for record in group if record.id in ledger}
    for part in ("test", "validation", "train"):
        if part in known:
            return part
    key = min(record.id for record in group)
    place = int(hashlib.sha256(f"split:{key}".encode()).hexdigest()[:12], 16) / 16**12
    if place < config.test:
        return "test"
    return "validation" if place < config.test + config.validation else "train"


def _check(parts: Mapping[Part, Sequence[Record]], config: SplitConfig, rows: int) -> None:
    tests = len(parts["test"])
    if tests < config.min_test_rows:
        missing = config.min_test_rows - tests
        raise DataError(
            f"{rows} rows leave {tests} for testing, too few to decide anything "
            f"(split.min_test_rows is {config.min_test_rows}): write about {round(missing / config.test)} more rows, "
            f"or raise split.test ({config.test})"
        )
