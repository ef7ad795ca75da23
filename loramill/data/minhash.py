"""Pairs of rows that may be alike, found in linear time: MinHash signatures in bands (locality-sensitive hashing).

A row's minima under many hash functions agree with another row's as often as the two share pieces. Rows that agree in a whole
band of minima are neighbours; each is compared with a bounded number of them, so a popular band costs no more than a rare one.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from loramill.data.fingerprints import Fingerprints, Rows

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


def candidates(prints: Fingerprints, threshold: float) -> Iterator[tuple[Rows, Rows]]:
    """Yield pairs of rows (first, second) that may reach the threshold; a pair may come again.

    There are as many batches as bands and neighbours, however many the rows: work for each batch is linear too.
    """
    keys, sketch = _signatures(prints, *bands_for(threshold))
    floor = threshold - 4 * math.sqrt(threshold * (1 - threshold) / sketch.shape[1])
    for band, key in enumerate(keys):
        # rows that also agree in the next band lie side by side: they are met first
        both = key.astype(np.uint64) << np.uint64(32) | keys[(band + 1) % len(keys)].astype(np.uint64)
        order = np.argsort(both, kind="stable")
        ordered = key[order]
        for distance in range(1, NEIGHBOURS + 1):
            same = np.flatnonzero(ordered[distance:] == ordered[:-distance])
            if not len(same):
                break
            first, second = order[same], order[same + distance]
            likely = _agreement(sketch, first, second) >= floor
            yield first[likely], second[likely]


def _agreement(sketch: NDArray[np.uint8], first: Rows, second: Rows) -> NDArray[np.float64]:
    """Return the share of minima that each pair has in common, some pairs at once."""
    shares = [
        np.count_nonzero(sketch[first[start : start + TILE]] == sketch[second[start : start + TILE]], axis=1)
        for start in range(0, len(first), TILE)
    ]
    return np.asarray(np.concatenate(shares) / sketch.shape[1], np.float64)


def _signatures(prints: Fingerprints, bands: int, rows: int) -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """Return the key of every band (bands, sets) and the sketch (sets, minima); sets of like size are hashed together."""
    keys = np.zeros((bands, len(prints)), np.uint32)
    sketch = np.zeros((len(prints), min(SKETCH, bands * rows)), np.uint8)
    factors = np.random.Generator(np.random.PCG64(3)).integers(0, 1 << 31, (bands, rows), np.uint32) * 2 + 1
    order = np.argsort(prints.sizes, kind="stable")
    start = 0
    while start < len(order):
        end = start + _fitting(prints.sizes[order[start : start + TILE]])
        _sign(prints, order[start:end], factors.astype(np.uint32), keys, sketch)
        start = end
    return keys, sketch


def _fitting(sizes: Rows) -> int:
    """Return how many of the (ascending) sizes fit into one tile."""
    return max(1, int(np.count_nonzero(sizes * np.arange(1, len(sizes) + 1) <= TILE)))


def _sign(
    prints: Fingerprints,
    rows: Rows,
    factors: NDArray[np.uint32],
    keys: NDArray[np.uint32],
    sketch: NDArray[np.uint8],
) -> None:
    """Fill in keys and sketch of some rows; a short set repeats its last piece, which changes no minimum."""
    depth = np.arange(prints.sizes[rows[-1]])[:, None]
    pieces = prints.values[prints.starts[rows] + np.minimum(depth, prints.sizes[rows] - 1)]
    for band, own in enumerate(factors):
        key = np.zeros(len(rows), np.uint32)
        for number, factor in enumerate(own, start=band * len(own)):
            minima = (pieces * factor).min(axis=0)
            key = (key ^ minima) * np.uint32(0x9E3779B1)
            if number < sketch.shape[1]:
                sketch[rows, number] = minima >> np.uint32(8) & np.uint32(255)
        keys[band, rows] = key
