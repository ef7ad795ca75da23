"""Pairs of rows that may be alike, found in linear time: MinHash signatures in bands (locality-sensitive hashing).

A row's minima under many hash functions agree with another row's as often as the two share pieces. Rows that agree in a whole
band of minima are neighbours; each is compared with a bounded number of them, so a popular band costs no more than a rare one.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loramill.data.fingerprints import Fingerprints, Rows, stretches

RECALL = 0.995
"""Share of the pairs exactly at the threshold that must meet in a band; more alike pairs meet more often."""
HASHES = 400
"""Hash functions at most."""
NEIGHBOURS = 12
"""Rows of a band's bucket that each row is compared with."""
SKETCH = 128
"""Minima kept as one byte each, to leave out pairs that are clearly unlike."""
TILE = 1 << 16
"""Pieces whose minima are taken at once: they stay in the processor's cache."""


def bands_for(threshold: float) -> tuple[int, int]:
    """Return (bands, minima per band): the longest bands that keep `RECALL` with at most `HASHES` functions."""
    for rows in range(12, 1, -1):
        bands = math.ceil(math.log(1 - RECALL) / math.log(max(1 - threshold**rows, 1e-9)))
        if bands * rows <= HASHES:
            return max(bands, 4), rows
    return HASHES, 1


def candidates(prints: Fingerprints, rows: Rows, threshold: float) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs that may reach the threshold, as (first, second) numbers of ``rows``; a pair may come again.

    There are as many batches as bands and neighbours, however many the rows: work for each batch is linear too. The order of
    ``rows`` decides which neighbours are met.
    """
    bands, minima = bands_for(threshold)
    factors = np.random.Generator(np.random.PCG64(3)).integers(0, 1 << 31, (bands, minima), np.uint32) * 2 + 1
    together = math.ceil(SKETCH / minima)  # bands whose keys are in memory at once; the first ones make the sketch
    sketch = np.zeros((len(rows), min(SKETCH, bands * minima)), np.uint8)
    floor = threshold - 4 * math.sqrt(threshold * (1 - threshold) / sketch.shape[1])
    for start in range(0, bands, together):
        some = factors[start : start + together].astype(np.uint32)
        keys = _signatures(prints, rows, some, sketch if start == 0 else sketch[:, :0])
        for first, second in _neighbours(keys):
            likely = _agreement(sketch, first, second) >= floor
            yield first[likely], second[likely]


def _neighbours(keys: NDArray[np.uint32]) -> Iterator[tuple[Rows, Rows]]:
    """Yield the pairs that agree in a band and lie near each other there, one band and one distance at a time."""
    for band, key in enumerate(keys):
        # rows that also agree in the next band lie side by side: they are met first
        both = key.astype(np.uint64) << np.uint64(32) | keys[(band + 1) % len(keys)].astype(np.uint64)
        order = np.argsort(both, kind="stable")
        ordered = key[order]
        for distance in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
            if not len(same):
                break
            yield order[same], order[same + distance]


def _agreement(sketch: NDArray[np.uint8], first: Rows, second: Rows) -> NDArray[np.float64]:
    """Return the share of minima that each pair has in common, some pairs at once."""
    shares = [
        np.count_nonzero(sketch[first[start : start + TILE]] == sketch[second[start : start + TILE]], axis=1)
        for start in range(0, len(first), TILE)
    ]
    return np.asarray(np.concatenate(shares) / sketch.shape[1], np.float64)


def _signatures(
    prints: Fingerprints, rows: Rows, factors: NDArray[np.uint32], sketch: NDArray[np.uint8]
) -> NDArray[np.uint32]:
    """Return the key of some bands (bands, rows), and fill in the sketch (rows, minima) as far as it is wide.

    Rows that lie near each other in the file are looked at together, those of like size hashed together.
    """
    keys = np.zeros((len(factors), len(rows)), np.uint32)
    by_place = np.argsort(rows)
    for start, end in stretches(prints.sizes[rows[by_place]]):
        order = by_place[start:end]
        order = order[np.argsort(prints.sizes[rows[order]], kind="stable")]
        while len(order):
            tile, order = np.split(order, [_fitting(prints.sizes[rows[order[:TILE]]])])
            _sign(prints, rows[tile], tile, factors, keys, sketch)
        prints.let_go()
    return keys


def _fitting(sizes: Rows) -> int:
    """Return how many of the (ascending) sizes fit into one tile."""
    return max(1, int(np.count_nonzero(sizes * np.arange(1, len(sizes) + 1) <= TILE)))


def _sign(
    prints: Fingerprints,
    rows: Rows,
    numbers: Rows,
    factors: NDArray[np.uint32],
    keys: NDArray[np.uint32],
    sketch: NDArray[np.uint8],
) -> None:
    """Fill in keys and sketch of some rows; a short set repeats its last piece, which changes no minimum."""
    depth = np.arange(prints.sizes[rows[-1]])[:, None]
    pieces = prints.values[prints.starts[rows] + np.minimum(depth, prints.sizes[rows] - 1)]
    for band, own in enumerate(factors):
        key = np.zeros(len(rows), np.uint32)
        for place, factor in enumerate(own, start=band * len(own)):
            minima = (pieces * factor).min(axis=0)
            key = (key ^ minima) * np.uint32(0x9E3779B1)
            if place < sketch.shape[1]:
                sketch[numbers, place] = minima >> np.uint32(8) & np.uint32(255)
        keys[band, numbers] = key
