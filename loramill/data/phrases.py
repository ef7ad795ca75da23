"""Find the set phrases of a field in its own rows: no dictionary knows 竞业限制, and no dictionary is needed.

A run of characters is a phrase if it occurs in several rows, if its parts occur together far more often than by chance
(cohesion), and if what stands left and right of it varies (freedom): 劳动合同 is free on both sides, 动合同 is not.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

LONGEST: Final = 6
"""Characters of the longest phrase."""
MIN_COHESION: Final = 3.0
"""Bits by which a phrase must be more frequent than its parts explain."""
MIN_FREEDOM: Final = 1.2
"""Bits of surprise in the neighbours of a phrase, on the poorer side."""
NEVER_FIRST: Final = frozenset(
    "的了吗呢吧啊是我你您他她它们在和与就都也还又很把被让给到着过这那哪个不没要能可会说为从以及或其所该等得上有去来再才只按"
    "对向于第条一二三四五六七八九十元天个名请月"
)
"""Characters that open no phrase: particles, pronouns, prepositions, numerals and their measure words."""
NEVER_LAST: Final = NEVER_FIRST - frozenset("月") | frozenset("年日后前时里内")
_EVERYDAY: Final = (
    "什么 怎么 怎么办 多少 自己 可以 需要 因为 所以 如果 应当 目前 时候 时间 情况 问题 直接 平均 已经 不能 现在 之前 之后 一般 "
    "发现 办法 这样 那样 还是 但是 而且 本人 我们 你们 他们 知道 觉得 谢谢 您好 请问 当地 工作 家里 今天 昨天 明天 上周 下月 "
    "看到 继续 正常 合理 每天"
)
TELL_NOTHING: Final = frozenset(_EVERYDAY.split())
"""Words that people use whatever they speak of."""
TITLES: Final = re.compile(r"《[^》]*》")
CHINESE: Final = re.compile(r"[\u4e00-\u9fff]+")
LATIN: Final = re.compile(r"[a-z][a-z'-]{2,}")
EDGE: Final = "\n"
"""Stands for the end of a run of Chinese characters."""


def find_phrases(texts: Sequence[str], min_rows: int) -> frozenset[str]:
    """Return the Chinese phrases that occur in at least ``min_rows`` of the texts."""
    runs = [CHINESE.findall(TITLES.sub(" ", text)) for text in texts]
    counts, rows = _count(runs)
    likely = {
        piece
        for piece, among in rows.items()
        if among >= min_rows
        and piece not in TELL_NOTHING
        and piece[0] not in NEVER_FIRST
        and piece[-1] not in NEVER_LAST
        and _cohesion(piece, counts) >= MIN_COHESION
    }
    return frozenset(piece for piece, freedom in _freedom(runs, likely).items() if freedom >= MIN_FREEDOM)


def terms(text: str, phrases: frozenset[str], stop_words: frozenset[str]) -> list[str]:
    """Return the phrases of a text, longest first from left to right, and its Latin words in small letters."""
    bare = TITLES.sub(" ", text)
    words = [word for word in LATIN.findall(bare.lower()) if word not in stop_words]
    pairs = [f"{first} {second}" for first, second in pairwise(words)]
    return [phrase for run in CHINESE.findall(bare) for phrase in _longest(run, phrases)] + words + pairs


def _longest(run: str, phrases: frozenset[str]) -> Iterator[str]:
    place = 0
    while place < len(run):
        sizes = range(min(LONGEST, len(run) - place), 1, -1)
        size = next((size for size in sizes if run[place : place + size] in phrases), 0)
        if size:
            yield run[place : place + size]
        place += size or 1


def _count(runs: Sequence[Sequence[str]]) -> tuple[Counter[str], Counter[str]]:
    """Return how often every piece occurs, and in how many texts the pieces of two characters and more do."""
    counts: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    for text in runs:
        pieces = [
            run[place : place + size]
            for run in text
            for size in range(1, LONGEST + 1)
            for place in range(len(run) - size + 1)
        ]
        counts.update(pieces)
        rows.update({piece for piece in pieces if len(piece) > 1})
    counts[""] = sum(count for piece, count in counts.items() if len(piece) == 1)
    return counts, rows


def _cohesion(piece: str, counts: Mapping[str, int]) -> float:
    """Return the bits by which a piece is more frequent than its loosest two halves would be side by side."""
    halves = max(counts[piece[:cut]] * counts[piece[cut:]] for cut in range(1, len(piece)))
    return math.log2(counts[piece] * counts[""] / halves)


def _freedom(runs: Sequence[Sequence[str]], likely: set[str]) -> dict[str, float]:
    left: dict[str, Counter[str]] = defaultdict(Counter)
    right: dict[str, Counter[str]] = defaultdict(Counter)
    for text in runs:
        for run in text:
            between = f"{EDGE}{run}{EDGE}"
            for size in range(2, LONGEST + 1):
                for place in range(1, len(between) - size):
                    piece = between[place : place + size]
                    if piece in likely:
                        left[piece][between[place - 1]] += 1
                        right[piece][between[place + size]] += 1
    return {piece: min(_surprise(left[piece]), _surprise(right[piece])) for piece in likely}


def _surprise(neighbours: Counter[str]) -> float:
    """Return the entropy in bits; each end of a run counts as a neighbour of its own."""
    total = sum(neighbours.values())
    bits = -sum(count / total * math.log2(count / total) for count in neighbours.values())
    ends = neighbours[EDGE]
    return bits + (ends / total * math.log2(ends) if ends else 0.0)
