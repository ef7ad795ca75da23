"""The same question in other words: do the answers still agree?

Words are put around a question, never into it, so that what is asked stays the same whatever the language says it with. A model
that answers the wrapping instead of the question shows; one that misunderstands a real paraphrase does not.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from loramill.records import Message, Record

WRAPPINGS: Final = Path(__file__).parent / "probes"
EXAMPLES: Final = 5
"""Contradictions quoted."""
_CHINESE: Final = re.compile("[\u4e00-\u9fff]")

Disagreement = Callable[[str, str, str], str | None]
"""Of a question and two answers: in what they do not agree."""


@dataclass(frozen=True)
class Pair:
    """Two answers of one model to what is the same question."""

    question: str
    first: str
    second: str


@dataclass(frozen=True)
class Contradiction:
    """Two answers that do not agree, and in what."""

    question: str
    first: str
    second: str
    reason: str


@dataclass(frozen=True)
class Contradictions:
    """How often one model contradicts itself."""

    pairs: int
    contradictory: int
    examples: tuple[Contradiction, ...]


def reworded(record: Record) -> list[Record]:
    """Return the row with its last question asked in other words."""
    language = "zh" if _CHINESE.search(record.question) else "en"
    wrappings = (WRAPPINGS / f"rewordings-{language}.txt").read_text(encoding="utf-8").splitlines()
    return [_asking(record, wrapping.replace("{question}", record.question)) for wrapping in wrappings]


def contradictions(pairs: Sequence[Pair], disagreement: Disagreement) -> Contradictions:
    """Count the pairs that do not agree; two empty answers do."""
    found = [
        Contradiction(pair.question, pair.first, pair.second, reason)
        for pair in pairs
        if (reason := disagreement(pair.question, pair.first, pair.second))
    ]
    return Contradictions(len(pairs), len(found), tuple(found[:EXAMPLES]))


def _asking(record: Record, question: str) -> Record:
    places = [place for place, message in enumerate(record.messages) if message.role == "user"]
    messages = list(record.messages)
    messages[places[-1]] = Message("user", question)
    return replace(record, messages=tuple(messages))
