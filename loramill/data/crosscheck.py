"""Rules across rows: what only shows when a row is held against the others.

Questions are compared as they were asked: all turns before the answer, without the lines that many rows share (an instruction
above each question is no likeness).
"""

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from typing import Final

import numpy as np

from loramill.config import ValidationConfig
from loramill.data.agreement import disagreement, likeness, same_numbers
from loramill.data.alike import alike_groups
from loramill.data.fingerprints import fingerprints
from loramill.data.quality import plain, shown
from loramill.data.spool import Spool
from loramill.records import Record

SHARED_LINE_ROWS: Final = 20
SHARED_LINE_SHARE: Final = 0.05
"""A line in so many rows, and in this share of them, belongs to the template and not to the question."""
COMPARED: Final = 40
"""Rows of a group that are compared pair by pair."""
TELLING: Final = 20
"""Characters of an answer that nobody gives twice by chance."""


@dataclass(frozen=True)
class Finding:
    """What a row has to do with earlier ones."""

    others: tuple[int, ...]
    reason: str


Findings = dict[int, Finding]
"""By the place of the later row."""


@dataclass(frozen=True)
class Relations:
    """What was found, by rule."""

    near_duplicate: Findings = field(default_factory=dict)
    contradiction: Findings = field(default_factory=dict)
    same_answer: Findings = field(default_factory=dict)


def relate(spool: Spool, places: Sequence[int], config: ValidationConfig) -> Relations:
    """Hold the rows of some places against each other."""
    found = Relations()
    rules = config.rules
    if rules.near_duplicate != "off" or rules.contradiction != "off":
        shared = _shared_lines(spool, places)
        for members in _alike_groups(spool, places, lambda record: _asked(record, shared), config.same_row):
            _compare(spool, members[:COMPARED], config, found)
    if rules.same_answer != "off":
        for members in _alike_groups(spool, places, lambda record: plain(record.answer), config.same_row):
            _count_same_answers(spool, members, config, found)
    return found


def _shared_lines(spool: Spool, places: Sequence[int]) -> set[int]:
    keys = array("Q")  # numbers, not texts: nearly every question is a line of its own
    for place in places:
        keys.extend({_key(line) for line in _said_before(spool[place]).split("\n")})
    lines, counts = np.unique(np.array(keys, np.uint64), return_counts=True)
    return set(lines[counts >= max(SHARED_LINE_ROWS, SHARED_LINE_SHARE * len(places))].tolist())


def _said_before(record: Record) -> str:
    return "\n".join(message.content for message in record.asked)


def _asked(record: Record, shared: set[int]) -> str:
    """Return the question for comparing; one that consists of shared lines alone is compared whole."""
    said = _said_before(record)
    own = "\n".join(line for line in said.split("\n") if _key(line) not in shared) if shared else said
    return plain(own) or plain(said)


def _key(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _alike_groups(
    spool: Spool, places: Sequence[int], text: Callable[[Record], str], threshold: float
) -> Iterator[list[int]]:
    """Yield the groups of two and more rows whose texts are alike."""
    leaders = alike_groups(fingerprints((text(spool[place]) for place in places), spool.folder), threshold)
    order = np.argsort(leaders, kind="stable")
    _, starts, sizes = np.unique(leaders[order], return_index=True, return_counts=True)
    for start, size in zip(starts[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        yield [places[row] for row in order[start : start + size].tolist()]


def _compare(spool: Spool, members: Sequence[int], config: ValidationConfig, found: Relations) -> None:
    """Tell rows that say the same twice from rows that say two things about the same."""
    rows = {place: spool[place] for place in members}
    clashes: dict[tuple[int, int], str] = {}
    for earlier, later in combinations(members, 2):
        first, second = rows[earlier], rows[later]
        if not _is_same_question(first, second, config.same_row):
            continue
        if likeness(first.answer, second.answer) >= config.same_row and same_numbers(first.answer, second.answer):
            found.near_duplicate.setdefault(later, Finding((earlier,), f"nearly the same row as {first.source}"))
        elif why := disagreement(second.question, first.answer, second.answer):
            clashes[earlier, later] = why
    found.contradiction.update(_contradictions(rows, clashes))


def _contradictions(rows: Mapping[int, Record], clashes: Mapping[tuple[int, int], str]) -> Findings:
    """Return one reason for the whole group: who mends one answer has to see the others."""
    if not clashes:
        return {}
    pairs = [f"{rows[pair[0]].source} and {rows[pair[1]].source} ({why})" for pair, why in list(clashes.items())[:3]]
    more = f" and {len(clashes) - 3} more pairs" if len(clashes) > 3 else ""
    question = shown(next(iter(rows.values())).question)
    reason = f"answers to «{question}» do not agree: {', '.join(pairs)}{more}; decide which one is right"
    others: defaultdict[int, list[int]] = defaultdict(list)
    for earlier, later in clashes:
        others[later].append(earlier)
    return {later: Finding(tuple(earlier), reason) for later, earlier in others.items()}


def _is_same_question(first: Record, second: Record, threshold: float) -> bool:
    """Tell whether two rows ask the same: same figures, same system prompt, and a last turn that is alike as well."""
    asked = [[message.content for message in record.asked if message.role == "system"] for record in (first, second)]
    return (
        asked[0] == asked[1]
        and same_numbers(first.question, second.question)
        and likeness(first.question, second.question) >= threshold
    )


def _count_same_answers(spool: Spool, members: Sequence[int], config: ValidationConfig, found: Relations) -> None:
    first = spool[members[0]]
    if len(members) < config.same_answer_rows or len(plain(first.answer)) < TELLING:
        return
    questions = {plain(_said_before(spool[place])) for place in members}
    if len(questions) < config.same_answer_rows:
        return
    answer = shown(first.answer)
    reason = f"{len(questions)} different questions get nearly the same answer «{answer}»; does it fit each of them?"
    found.same_answer.update(dict.fromkeys(members[1:], Finding((members[0],), reason)))
