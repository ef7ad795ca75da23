"""What became of the rows since an adapter learnt them: added, changed, gone, and whether the new ones are of another kind."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from loramill.data.alike import alike_across, alike_groups
from loramill.data.fingerprints import extended, fingerprints
from loramill.data.ledger import LEVELS, Print
from loramill.data.topics import find_topics
from loramill.records import Record

MIN_ROWS: Final = 5
"""From fewer new rows no drift can be told."""
LONGER: Final = 1.5
"""New rows whose middle length is so many times that of the others, or that part of it, are of another kind."""
TOPIC_SHARE: Final = 0.2
"""A topic whose share in the new rows differs from that in the others by so much has moved."""


@dataclass(frozen=True)
class Drift:
    """One way in which new rows differ from those before them."""

    kind: Literal["question length", "answer length", "topic"]
    before: float
    """Median characters, or share of the rows from 0 to 1."""
    after: float
    topic: str = ""
    """The topic's words."""

    @property
    def said(self) -> str:
        """The difference in plain words."""
        if self.kind == "topic":
            return f"the topic “{self.topic}” makes {self.after:.0%} of the new rows, {self.before:.0%} of the others"
        part = self.kind.removesuffix(" length")
        return f"new {part}s have {self.after:.0f} characters in the middle, the others {self.before:.0f}"


@dataclass(frozen=True)
class Changes:
    """How today's training rows differ from those that an adapter learnt, by record id."""

    added: tuple[str, ...]
    changed: tuple[tuple[str, str], ...]
    """(before, now) of rows that say nearly the same as before."""
    removed: tuple[str, ...]
    kept: int
    drift: tuple[Drift, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows differ."""
        return len(self.added) + len(self.changed) + len(self.removed)

    @property
    def fresh(self) -> frozenset[str]:
        """Today's rows that the adapter has not learnt as they are."""
        return frozenset(self.added) | {now for _, now in self.changed}

    @property
    def said(self) -> str:
        """The difference in one line."""
        counts = {"added": len(self.added), "changed": len(self.changed), "removed": len(self.removed)}
        named = [f"{count} {what}" for what, count in counts.items() if count]
        return f"{', '.join(named) or 'nothing changed'}, {self.kept} as before"


def compare_rows(
    learnt: Collection[str], today: Sequence[Record], prints: Mapping[str, Print], near_duplicate: float
) -> Changes:
    """Compare an adapter's training rows with today's.

    Args:
        learnt: ids of the rows that the adapter learnt.
        today: today's training rows.
        prints: fingerprints of rows that are gone; one without a fingerprint is called removed, never changed.
        near_duplicate: rows whose question or answer is more alike than this are one row, changed.
    """
    before = frozenset(learnt)
    now = {record.id for record in today}
    new = [record for record in today if record.id not in before]
    kept = [record for record in today if record.id in before]
    gone = sorted(before - now)
    heirs = _heirs([id for id in gone if id in prints], new, prints, near_duplicate)
    return Changes(
        added=tuple(record.id for record in new if record.id not in heirs.values()),
        changed=tuple(heirs.items()),
        removed=tuple(id for id in gone if id not in heirs),
        kept=len(kept),
        drift=tuple(find_drift(kept, new)),
    )


def find_drift(before: Sequence[Record], new: Sequence[Record]) -> list[Drift]:
    """Return in what new rows differ from those before them; nothing where there are too few to tell."""
    if min(len(before), len(new)) < MIN_ROWS:
        return []
    return [*_lengths(before, new), *_topics(before, new)]


def _heirs(gone: Sequence[str], new: Sequence[Record], prints: Mapping[str, Print], threshold: float) -> dict[str, str]:
    """Return which new row each gone one became; the most alike first, each row once."""
    if not gone or not new:
        return {}
    claims: list[tuple[float, str, str]] = []
    for level in LEVELS:
        texts = fingerprints([getattr(record, level) for record in new])
        both = extended(texts, [_print(prints[id], level) for id in gone])
        theirs, ours = np.arange(len(new)), np.arange(len(new), len(new) + len(gone))
        pairs = alike_across(both, alike_groups(both, threshold), ours, theirs, threshold)
        claims += [
            (-value, gone[own - len(new)], new[row].id)
            for own, row, value in zip(*(column.tolist() for column in pairs), strict=True)
        ]
    heirs: dict[str, str] = {}
    for _, old, heir in sorted(claims):
        if old not in heirs and heir not in heirs.values():
            heirs[old] = heir
    return heirs


def _print(kept: Print, level: str) -> NDArray[np.uint32]:
    return kept.question if level == "question" else kept.answer


def _lengths(before: Sequence[Record], new: Sequence[Record]) -> list[Drift]:
    def middle(rows: Sequence[Record], text: Callable[[Record], str]) -> float:
        return median(len(text(record)) for record in rows)

    def drift(kind: Literal["question length", "answer length"], text: Callable[[Record], str]) -> Drift:
        return Drift(kind, middle(before, text), middle(new, text))

    questions = drift("question length", lambda row: row.question)
    answers = drift("answer length", lambda row: row.answer)
    return [each for each in (questions, answers) if not 1 / LONGER < each.after / max(each.before, 1.0) < LONGER]


def _topics(before: Sequence[Record], new: Sequence[Record]) -> list[Drift]:
    found = []
    for topic in find_topics([*before, *new]):
        fresh = sum(row >= len(before) for row in topic.rows)
        each = Drift("topic", (len(topic.rows) - fresh) / len(before), fresh / len(new), topic.name)
        if topic.terms and abs(each.after - each.before) >= TOPIC_SHARE:
            found.append(each)
    return found
