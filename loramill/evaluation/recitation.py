"""What small data breaks: training answers known by heart, and phrases that every answer gets.

A test answer cannot have been learnt, so what it shares with the training answers (statutes, the house's own phrases) is what
may stand word for word. Only what goes beyond that, at questions that were learnt, is recited.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from loramill.config import RecitationConfig

HOUSE_STYLE: Final = 3
"""A passage in so many training answers is how the house writes, not one row recited."""
LATIN: Final = 3
"""Characters of a Latin script that tell as much as one Chinese character does."""
PHRASE: Final = 8
"""Characters of the shortest stock phrase."""
OVERUSED: Final = 0.01
"""Chance below which a phrase's share of answers cannot be that of the training answers."""
LONGEST_PHRASE: Final = 40
"""Characters after which a phrase is a loop."""
PHRASES: Final = 10
"""Stock phrases told."""
_BETWEEN: Final = "\x00"
"""Stands between training answers, so that no passage runs from one into the next."""


@dataclass(frozen=True)
class Answered:
    """One answer, with what it may well repeat."""

    question: str
    answer: str
    known: str
    """The question, the base's own answer and, for a test row, its reference."""


@dataclass(frozen=True)
class Passage:
    """A passage of an answer that stands in the training answers."""

    question: str
    answer: str
    run: str


@dataclass(frozen=True)
class StockPhrase:
    """A phrase that a model uses far more often than the training answers do."""

    phrase: str
    answers: int
    """Answers that have it."""
    share: float
    training_share: float


@dataclass(frozen=True)
class Recitation:
    """How much one member knows by heart."""

    longest_train: int
    """Characters of the longest passage recited at training questions."""
    longest_test: int
    """The same at test questions: what needs no learning by heart."""
    recited: tuple[Passage, ...]
    recites: bool
    stock_phrases: tuple[StockPhrase, ...]

    def told(self) -> dict[str, Any]:
        """Return what a report holds."""
        return asdict(self)


def recitation(
    config: RecitationConfig, trained: Sequence[Answered], tested: Sequence[Answered], learnt: Sequence[str]
) -> Recitation:
    """Judge one member by its answers to training and to test questions.

    Args:
        config: what counts as recited.
        trained: answers to questions that were learnt.
        tested: answers to questions that were not.
        learnt: all training answers.
    """
    text = _BETWEEN.join(learnt)
    train, test = ([_passage(each, text) for each in side] for side in (trained, tested))
    longest_test = max((len(passage.run) for passage in test), default=0)
    beyond = [passage for passage in train if len(passage.run) > longest_test and _is_long(passage.run, config)]
    strange = [passage for passage in test if _is_long(passage.run, config)]
    return Recitation(
        longest_train=max((len(passage.run) for passage in train), default=0),
        longest_test=longest_test,
        recited=(*beyond, *strange),
        recites=_exceeds(beyond, train, config) or _exceeds(strange, test, config),
        stock_phrases=stock_phrases([each.answer for each in tested], learnt),
    )


def longest_run(answer: str, known: str, learnt: str) -> str:
    """Return the longest passage of an answer that stands in ``learnt``, in few places, and not mostly in ``known``."""
    best = ""
    for run in common_runs(answer, learnt):
        if len(run) > len(best) and learnt.count(run) < HOUSE_STYLE:
            shared = max(map(len, common_runs(run, known)), default=0)
            best = run if 2 * shared <= len(run) else best
    return best


def common_runs(text: str, source: str) -> Iterator[str]:
    """Yield the passages of a text that stand in ``source`` and would not if they were any longer."""
    end = 0
    for start in range(len(text)):
        before, end = end, max(end, start)
        while end < len(text) and text[start : end + 1] in source:
            end += 1
        if end > max(before, start):
            yield text[start:end]


def stock_phrases(answers: Sequence[str], learnt: Sequence[str]) -> tuple[StockPhrase, ...]:
    """Return the phrases that stand in far more of the answers than of the training answers, the most frequent first."""
    counts = Counter(piece for answer in answers for piece in _pieces(answer))
    often = {piece: count for piece, count in counts.items() if count >= HOUSE_STYLE}
    taught = Counter(piece for answer in learnt for piece in _pieces(answer) & often.keys())
    overused = {
        piece for piece, count in often.items() if _is_overused(count, len(answers), taught[piece], len(learnt))
    }
    phrases = {phrase for answer in answers for phrase in _joined(answer, overused, counts)}
    whole = [phrase for phrase in phrases if not any(phrase != other and phrase in other for other in phrases)]
    found = [_stock_phrase(phrase, answers, learnt) for phrase in whole]
    return tuple(sorted(found, key=lambda each: (-each.answers, -len(each.phrase), each.phrase))[:PHRASES])


def _passage(answered: Answered, learnt: str) -> Passage:
    return Passage(answered.question, answered.answer, longest_run(answered.answer, answered.known, learnt))


def _is_long(run: str, config: RecitationConfig) -> bool:
    return len(run) >= config.characters * (LATIN if run.isascii() else 1)


def _exceeds(recited: Sequence[Passage], asked: Sequence[Passage], config: RecitationConfig) -> bool:
    return len(recited) > config.share * len(asked)


def _pieces(text: str) -> set[str]:
    return {text[start : start + PHRASE] for start in range(len(text) - PHRASE + 1)}


def _is_overused(count: int, answers: int, taught: int, learnt: int) -> bool:
    """Tell whether a count is above what the training answers' share would give by chance once in a hundred."""
    from scipy.stats import binom

    expected = (taught + 1) / (learnt + 2)
    return bool(count / answers > 2 * expected and binom.sf(count - 1, answers, expected) < OVERUSED)


def _joined(answer: str, overused: set[str], counts: Mapping[str, int]) -> list[str]:
    """Return the overused passages of an answer, each as long as its pieces are about equally frequent."""
    phrases: list[str] = []
    before = ""
    for start in range(len(answer) - PHRASE + 1):
        piece = answer[start : start + PHRASE]
        if piece in overused and before in overused and counts[piece] >= 0.8 * counts[before]:
            phrases[-1] = (phrases[-1] + piece[-1])[:LONGEST_PHRASE]
        elif piece in overused:
            phrases.append(piece)
        before = piece
    return phrases


def _stock_phrase(phrase: str, answers: Sequence[str], learnt: Sequence[str]) -> StockPhrase:
    said, taught = (sum(phrase in text for text in side) for side in (answers, learnt))
    return StockPhrase(phrase, said, said / len(answers), taught / max(1, len(learnt)))
