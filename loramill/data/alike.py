"""Which texts are nearly the same: Jaccard likeness of their 3-character pieces.

Small sets are compared exactly, all with all. Where that would take long, candidates come from MinHash bands in linear time;
each is then compared exactly, so nothing is called alike that is not, and about 1 pair in 200 at the threshold is missed.
Identical texts are looked at once, however often they come. The order of the texts never matters.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from loramill.data.fingerprints import CHUNK, PIECE, Fingerprints, Rows, fingerprints, likeness
from loramill.data.minhash import candidates

EXACT_ROWS = 20_000
"""Different texts up to which all may be compared with all."""
EXACT_WORK = 300_000_000
"""Times that two texts meet in a piece, up to which all are compared with all: about 4 seconds."""
BLOCK = 256
"""Texts that are compared with all others at once."""

Pairs = tuple[Rows, Rows, NDArray[np.float64]]
"""First rows, second rows, likeness."""


def pieces(text: str) -> frozenset[str]:
    """Return the set of all 3-character pieces of a text without its spaces; a shorter text is one piece."""
    packed = "".join(text.split())
    return frozenset(packed[start : start + PIECE] for start in range(max(1, len(packed) - PIECE + 1)))


def alike_pairs(texts: Sequence[str], threshold: float) -> list[tuple[int, int, float]]:
    """Return the pairs whose likeness is at least ``threshold``, as (earlier, later, likeness), in order.

    A text with the same pieces as an earlier one is paired with the first such text only, at likeness 1; all other pairs are
    between first ones. So `groups` sees every connection, and a thousand equal texts make a thousand pairs, not half a million.
    """
    prints = fingerprints(texts)
    firsts, same = _distinct(prints)
    later = np.flatnonzero(firsts[same] != np.arange(len(texts)))
    found = {(int(firsts[same[row]]), int(row)): 1.0 for row in later}
    for one, two, values in _near(prints, firsts, threshold):
        ends = np.sort(np.stack([firsts[one], firsts[two]]), axis=0)
        found.update(zip(zip(*ends.tolist(), strict=True), values.tolist(), strict=True))
    return sorted((first, second, value) for (first, second), value in found.items())


def alike_groups(prints: Fingerprints, threshold: float) -> Rows:
    """Return for each set the smallest row that it is connected with through pairs that reach the threshold."""
    firsts, same = _distinct(prints)
    label = np.arange(len(firsts))
    for one, two, _ in _near(prints, firsts, threshold, lambda one, two: label[one] != label[two]):
        label[:] = _merged(label, one, two)
    least = np.full(len(firsts), len(prints))
    np.minimum.at(least, label[same], np.arange(len(prints)))
    return least[label[same]]


def alike_across(prints: Fingerprints, group: Rows, ours: Rows, theirs: Rows, threshold: float) -> Pairs:
    """Return all pairs of one of our rows and one of theirs that lie in the same group and reach the threshold."""
    found = [
        (one[near], two[near], values[near])
        for one, two in _crossed(group, ours, theirs)
        for values in [likeness(prints, one, two)]
        for near in [values >= threshold]
    ]
    empty = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    first, second, values = (np.concatenate(column) for column in zip(empty, *found, strict=True))
    return first, second, values


def groups(size: int, pairs: Sequence[tuple[int, int, float]]) -> list[int]:
    """Return for each of ``size`` items the smallest item that it is connected with."""
    ends = np.array([pair[:2] for pair in pairs], np.int64).reshape(-1, 2)
    return [int(item) for item in connected(size, ends[:, 0], ends[:, 1])]


def connected(size: int, first: Rows, second: Rows) -> Rows:
    """Return for each of ``size`` items the smallest item that it is connected with, through links (first, second)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first), np.int8), (first, second)), shape=(size, size))
    _, part = connected_components(links, directed=False)
    _, smallest = np.unique(part, return_index=True)
    return np.asarray(smallest[part], np.int64)


def _merged(label: Rows, one: Rows, two: Rows) -> Rows:
    """Return the labels after the groups of each pair became one."""
    ends, places = np.unique(np.stack([label[one], label[two]]), return_inverse=True)
    to = np.arange(len(label))
    to[ends] = ends[connected(len(ends), *places.reshape(2, -1))]
    return to[label]


def _distinct(prints: Fingerprints) -> tuple[Rows, Rows]:
    """Return the first row of each different set, in an order that only content decides, and for each row its place there."""
    _, first, same = np.unique(prints.identities(), return_index=True, return_inverse=True)
    return first, same


def _near(
    prints: Fingerprints,
    rows: Rows,
    threshold: float,
    wanted: Callable[[Rows, Rows], NDArray[np.bool_]] | None = None,
) -> Iterator[Pairs]:
    """Yield the pairs of some rows that reach the threshold and are still wanted when their turn comes; a pair may come again.

    Pairs are numbers of ``rows``.
    """
    if len(rows) <= EXACT_ROWS:
        few = prints.take(rows)
        columns = _columns(few)
        if (np.bincount(columns) ** 2).sum() <= EXACT_WORK:
            yield from _all_pairs(few, columns, threshold)
            return
    for first, second in candidates(prints, rows, threshold):
        if wanted:
            still = wanted(first, second)
            first, second = first[still], second[still]
        values = likeness(prints, rows[first], rows[second])
        near = values >= threshold
        if near.any():
            yield first[near], second[near], values[near]


def _columns(prints: Fingerprints) -> Rows:
    """Return the pieces numbered from 0."""
    return np.unique(prints.values, return_inverse=True)[1]


def _all_pairs(prints: Fingerprints, columns: Rows, threshold: float) -> Iterator[Pairs]:
    """Count the shared pieces of every two sets, as a product of sparse matrices."""
    from scipy.sparse import csr_array

    shape = (len(prints), int(columns.max(initial=0)) + 1)
    sets = csr_array((np.ones(len(columns), np.int32), columns.astype(np.int32), prints.starts), shape=shape)
    turned = sets.T.tocsr()
    for start in range(0, len(prints), BLOCK):
        product = (sets[start : start + BLOCK] @ turned).tocoo()
        first, second, shared = product.row.astype(np.int64) + start, product.col.astype(np.int64), product.data
        values = shared / (prints.sizes[first] + prints.sizes[second] - shared)
        near = (values >= threshold) & (first < second)
        yield first[near], second[near], values[near]


def _crossed(group: Rows, ours: Rows, theirs: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Yield every (ours, theirs) of the same group, about `CHUNK` pairs at once."""
    order = theirs[np.argsort(group[theirs], kind="stable")]
    starts, ends = (np.searchsorted(group[order], group[ours], side) for side in ("left", "right"))
    counts = ends - starts
    borders = np.flatnonzero(np.diff(np.cumsum(counts) // CHUNK)) + 1
    for some in np.split(np.arange(len(ours)), borders):
        first = np.repeat(ours[some], counts[some])
        within = np.arange(len(first)) - np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
        yield first, order[np.repeat(starts[some], counts[some]) + within]
