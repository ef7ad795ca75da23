"""What the rows are about, in words of their own: phrases weighed by TF-IDF, parted by non-negative factors.

The same rows give the same topics. Questions weigh twice: a person knows a topic by what is asked.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

from loramill.data.phrases import find_phrases, terms
from loramill.records import Record

MIN_ROWS: Final = 24
"""Fewer rows have no topics worth a picture."""
FEWEST_TOPICS: Final = 2
MOST_TOPICS: Final = 16
MIN_TERM_ROWS: Final = 3
"""Rows in which a word must occur to be one."""
COMMON: Final = 0.5
"""A word in a larger share of the rows tells no topic from another."""
READ: Final = 600
"""Characters of a question and of an answer that are read for the topic."""
NAME_TERMS: Final = 3


@dataclass(frozen=True)
class Topic:
    """Rows that speak of the same things."""

    terms: tuple[str, ...]
    """The words that set it apart, the most telling first; empty for the rows that fit no topic."""
    rows: tuple[int, ...]
    """Places of its rows in what was given, the most typical first."""

    @property
    def name(self) -> str:
        """The words, as a title."""
        return " · ".join(self.terms)


def find_topics(records: Sequence[Record]) -> list[Topic]:
    """Return the topics, the largest first, and at the end the rows without one; nothing for too few rows."""
    if len(records) < MIN_ROWS:
        return []
    order = sorted(
        range(len(records)), key=lambda row: records[row].id
    )  # the order of the files is no property of the rows
    weights_RT, names = _weigh([records[row] for row in order])
    if len(names) < 2 * FEWEST_TOPICS:
        return []
    count = max(FEWEST_TOPICS, min(MOST_TOPICS, round(sqrt(len(records))), len(names) // 2))
    rows_RK, terms_KT = _factors(weights_RT, count)
    found = [_topic(place, rows_RK, terms_KT, names) for place in range(count)]
    found = [Topic(topic.terms, tuple(order[row] for row in topic.rows)) for topic in found]
    rest = [order[row] for row in range(len(records)) if rows_RK[row].max() <= 0]
    ordered = sorted((topic for topic in found if topic.rows), key=lambda topic: (-len(topic.rows), topic.terms))
    return [*ordered, Topic((), tuple(rest))] if rest else ordered


def _weigh(records: Sequence[Record]) -> tuple[Any, list[str]]:
    """Return TF-IDF weights, shape (rows, terms), and the terms."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer

    phrases = find_phrases([f"{record.question[:READ]}\n{record.answer[:READ]}" for record in records], MIN_TERM_ROWS)

    def read(record: Record) -> list[str]:
        asked, answered = (terms(text[:READ], phrases, ENGLISH_STOP_WORDS) for text in (record.question, record.answer))
        return 2 * asked + answered

    weigher = TfidfVectorizer(analyzer=read, min_df=MIN_TERM_ROWS, max_df=COMMON, sublinear_tf=True)
    try:
        weights_RT = weigher.fit_transform(records)
    except ValueError:  # scikit-learn's way to say that no term is left
        return None, []
    return weights_RT, list(weigher.get_feature_names_out())


def _factors(weights_RT: Any, count: int) -> tuple[Any, Any]:
    """Return how much of each topic a row has (rows, topics), and of each term a topic (topics, terms)."""
    import numpy as np
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    factors = NMF(count, init="nndsvd", random_state=0, max_iter=300, tol=1e-3)
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):  # an exact fit leaves an error a little below 0
        warnings.simplefilter("ignore", ConvergenceWarning)  # a topic picture needs no seventh digit
        rows_RK = factors.fit_transform(weights_RT)
    sizes_K = np.linalg.norm(factors.components_, axis=1)
    return rows_RK * sizes_K, factors.components_ / np.maximum(sizes_K, 1e-12)[:, None]


def _topic(place: int, rows_RK: Any, terms_KT: Any, names: Sequence[str]) -> Topic:
    own = [row for row in range(len(rows_RK)) if rows_RK[row].max() > 0 and rows_RK[row].argmax() == place]
    typical = sorted(own, key=lambda row: (-rows_RK[row, place], row))
    telling = terms_KT[place] ** 2 / (terms_KT.sum(axis=0) + 1e-12)
    return Topic(_distinct([names[term] for term in telling.argsort(kind="stable")[::-1][:12]]), tuple(typical))


def _distinct(candidates: Sequence[str]) -> tuple[str, ...]:
    """Return the first few that are no part of each other."""
    chosen: list[str] = []
    for term in candidates:
        if len(chosen) < NAME_TERMS and not any(term in other or other in term for other in chosen):
            chosen.append(term)
    return tuple(chosen)
