"""Which texts are nearly the same: Jaccard likeness of their 3-character pieces."""

from collections import Counter, defaultdict
from collections.abc import Sequence

PIECE = 3
"""Characters of a piece: enough for Chinese, where a word is one to four."""


def pieces(text: str) -> frozenset[str]:
    """Return the set of all 3-character pieces of a text without its spaces; a shorter text is one piece."""
    packed = "".join(text.split())
    return frozenset(packed[start : start + PIECE] for start in range(max(1, len(packed) - PIECE + 1)))


def alike_pairs(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """Return all pairs whose likeness is at least ``threshold``, as (earlier, later, likeness).

    Exact: every pair that shares a piece is counted, through an index from pieces to texts.
    """
    sets = [pieces(text) for text in texts]
    holders: defaultdict[str, list[int]] = defaultdict(list)
    pairs: list[tuple[int, int, float]] = []
    for later, own in enumerate(sets):
        shared = Counter(earlier for piece in own for earlier in holders[piece])
        for earlier, count in shared.items():
            likeness = count / (len(own) + len(sets[earlier]) - count)
            if likeness >= threshold:
                pairs.append((earlier, later, likeness))
        for piece in own:
            holders[piece].append(later)
    return pairs


def groups(size: int, pairs: Sequence[tuple[int, int, float]]) -> list[int]:
    """Return for each of ``size`` items the smallest item that it is connected with."""
    leader = list(range(size))

    def find(item: int) -> int:
        while leader[item] != item:
            leader[item] = leader[leader[item]]
            item = leader[item]
        return item

    for first, second, _ in pairs:
        low, high = sorted((find(first), find(second)))
        leader[high] = low
    return [find(item) for item in range(size)]
