"""What is measured on answers: likeness to the reference, exactness where it is asked for, length, an end, time.

Each measure is one number per row first, so that two models can be compared on the same rows; a model's is the mean.
"""

import re
import unicodedata
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from loramill.evaluation.verdict import Losses
    from loramill.pack.speak import Said

_SCRIPTS: Final = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_TOKEN: Final = re.compile(rf"[{_SCRIPTS}]|[^\W_{_SCRIPTS}]+")


@dataclass(frozen=True)
class Measures:
    """One model on the test rows; what rests on answers is none where nothing was answered."""

    perplexity: float
    """e to the mean loss."""
    chrf: float | None
    """Mean chrF against the reference, 0 to 100."""
    rouge_l: float | None
    """Mean F1 of ROUGE-L against the reference, 0 to 1."""
    exact_match: float | None
    """Share of answers that equal a reference short enough to ask for it; none if none does."""
    stopped: float | None
    """Share of answers that ended by themselves."""
    length_ratio: float | None
    """Characters of all answers over those of all references."""
    seconds_per_answer: float | None
    """Mean time of an answer that is asked for alone, from the question to the last word."""


def measure(
    losses: "Losses",
    said: "Sequence[Said]",
    references: Sequence[str],
    overlaps: tuple[Sequence[float], Sequence[float]],
    exact_characters: int,
    seconds: float | None,
) -> Measures:
    """Sum up one model.

    Args:
        losses: one per test row, nats per token.
        said: its answers to the rows that were answered.
        references: their references.
        overlaps: what `chrf` and `rouge_l` say of each answer.
        exact_characters: longest reference that asks to be met exactly.
        seconds: time of an answer.
    """
    exact = [
        same(each.text, reference)
        for each, reference in zip(said, references, strict=True)
        if len(reference) <= exact_characters
    ]
    written = sum(len(reference) for reference in references)
    return Measures(
        perplexity=exp(min(float(losses.mean()), 700.0)),
        chrf=mean(overlaps[0]),
        rouge_l=mean(overlaps[1]),
        exact_match=mean(exact),
        stopped=mean([each.stopped for each in said]),
        length_ratio=sum(len(each.text) for each in said) / written if written else None,
        seconds_per_answer=seconds,
    )


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, or none of no values."""
    return float(np.mean(values)) if values else None


def chrf(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return sacrebleu's chrF of each answer, 0 to 100: character n-grams up to 6, spaces left out."""
    from sacrebleu.metrics.chrf import CHRF

    score = CHRF()
    return [float(score.sentence_score(a, [b]).score) for a, b in zip(answers, references, strict=True)]


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return ROUGE-L's F1 of each answer, 0 to 1, over `tokens`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch, while ignite is imported
        from ignite.metrics.nlp.rouge import RougeL

    score = RougeL(multiref="best", alpha=0.5)
    values = []
    for answer, reference in zip(answers, references, strict=True):
        score.reset()
        score.update(([tokens(answer)], [[tokens(reference)]]))
        values.append(float(score.compute()["Rouge-L-F"]))
    return values


def tokens(text: str) -> list[str]:
    """Return a text's characters where a script writes no spaces between words, its words otherwise; no punctuation."""
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


def same(answer: str, reference: str) -> bool:
    """Tell whether two short texts are the same, spaces, punctuation and case aside."""
    return tokens(answer) == tokens(reference)
