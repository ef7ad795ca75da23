"""Texts as sets of hashed 3-character pieces: what likeness is computed from, and all that is kept of a row that is gone.

All sets lie in one array, one after the other: 4 bytes for each piece, about twice the text. Where that is much, it is the
array of a file, of which the memory holds only what was looked at last.
"""

import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
from numpy.typing import NDArray

PIECE = 3
"""Characters of a piece: enough for Chinese, where a word is one to four."""
CHUNK = 1 << 20
"""Characters that are hashed, or pieces that are compared, at once: what bounds the memory on the way."""

IN_MEMORY = 1 << 25
"""Bytes of pieces that never touch the disk."""

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Fingerprints:
    """Sets of hashed pieces."""

    values: NDArray[np.uint32]
    """All sets one after the other, each ascending."""
    starts: Rows
    """Where each set begins, and at last where the last one ends."""
    file: mmap.mmap | None = None
    """Where ``values`` lies, if that is not the memory."""

    def __len__(self) -> int:
        """Return the number of sets."""
        return len(self.starts) - 1

    def __getitem__(self, row: int) -> NDArray[np.uint32]:
        """Return one set."""
        return self.values[self.starts[row] : self.starts[row + 1]]

    @property
    def sizes(self) -> Rows:
        """Pieces of each set."""
        return np.diff(self.starts)

    def take(self, rows: Rows) -> "Fingerprints":
        """Return some of the sets, in the order asked for."""
        sizes = self.sizes[rows]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        places = np.arange(starts[-1]) + np.repeat(self.starts[rows] - starts[:-1], sizes)
        return Fingerprints(self.values[places], starts)

    def let_go(self) -> None:
        """Hold nothing of the file in memory until it is looked at again."""
        if self.file and hasattr(mmap, "MADV_DONTNEED"):  # a system without it does so by itself when memory is short
            self.file.madvise(mmap.MADV_DONTNEED)

    def identities(self) -> NDArray[np.uint64]:
        """Return one number for each set, equal for equal sets; among a million others, two meet once in 10^7 runs."""
        found = np.zeros(len(self), np.uint64)
        for start, end in stretches(self.sizes):
            values = self.values[self.starts[start] : self.starts[end]].astype(np.uint64)
            found[start:end] = np.add.reduceat(_mixed(values), self.starts[start:end] - self.starts[start])
            self.let_go()
        return found


def fingerprints(texts: Iterable[str], folder: Path | None = None) -> Fingerprints:
    """Return the set of hashed pieces of each text.

    Args:
        texts: looked at once, one after the other.
        folder: where a file without a name may lie if they are many; the system's own if not said.
    """
    sizes = [np.zeros(1, np.int64)]
    with SpooledTemporaryFile(IN_MEMORY, dir=None if folder is None else str(folder)) as file:
        for chunk in _chunks(texts):
            values, own = _hashed(chunk)
            file.write(values.tobytes())
            sizes.append(own)
        starts = np.cumsum(np.concatenate(sizes))
        if file.tell() <= IN_MEMORY:
            file.seek(0)
            return Fingerprints(np.frombuffer(file.read(), np.uint32), starts)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return Fingerprints(np.frombuffer(mapped, np.uint32), starts, mapped)


def extended(prints: Fingerprints, more: Sequence[NDArray[np.uint32]]) -> Fingerprints:
    """Return the sets with more of them behind."""
    if not more:
        return prints
    ends = prints.starts[-1] + np.cumsum([len(values) for values in more], dtype=np.int64)
    return Fingerprints(np.concatenate([prints.values, *more]), np.concatenate([prints.starts, ends]))


def likeness(prints: Fingerprints, first: Rows, second: Rows) -> NDArray[np.float64]:
    """Return the Jaccard likeness of each pair of rows: shared pieces over all pieces of the two."""
    sizes = prints.sizes[first] + prints.sizes[second]
    found = [_shared(prints, first[start:end], second[start:end]) / sizes[start:end] for start, end in stretches(sizes)]
    shares = np.concatenate([np.zeros(0), *found])
    return np.asarray(shares / (1 - shares))


def stretches(sizes: Rows) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of stretches of sets with about `CHUNK` pieces each."""
    ends = np.flatnonzero(np.diff(np.cumsum(sizes) // CHUNK)) + 1
    borders = [0, *ends.tolist(), len(sizes)]
    yield from ((start, end) for start, end in pairwise(borders) if end > start)


def _shared(prints: Fingerprints, first: Rows, second: Rows) -> Rows:
    """Return how many pieces each pair has in common: in the sorted pieces of both, those that come twice."""
    pairs = np.arange(len(first))
    sides = [prints.take(side) for side in (first, second)]
    keys = [
        np.repeat(pairs, side.sizes).astype(np.uint64) << np.uint64(32) | side.values.astype(np.uint64)
        for side in sides
    ]
    prints.let_go()
    ordered = np.sort(np.concatenate(keys))
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    return np.bincount((twice >> np.uint64(32)).astype(np.int64), minlength=len(first))


def _chunks(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield texts without spaces, about `CHUNK` characters at once."""
    chunk, size = [], 0
    for text in texts:
        chunk.append("".join(text.split()))
        size += len(chunk[-1])
        if size > CHUNK:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _hashed(texts: list[str]) -> tuple[NDArray[np.uint32], Rows]:
    """Return the hashed pieces of texts, without repetition, and how many each text has."""
    padded = [text.ljust(PIECE, "\0") for text in texts]  # no text that was read holds a NUL
    codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in padded], np.int64)
    owners = np.repeat(np.arange(len(texts)), lengths)
    within = owners[PIECE - 1 :] == owners[: len(owners) - PIECE + 1]
    windows = codes[:-2] << np.uint64(42) | codes[1:-1] << np.uint64(21) | codes[2:]
    hashed = _mixed(windows[within]) >> np.uint64(32)
    keys = np.unique(owners[: len(within)][within].astype(np.uint64) << np.uint64(32) | hashed)
    sizes = np.bincount((keys >> np.uint64(32)).astype(np.int64), minlength=len(texts))
    return keys.astype(np.uint32), sizes


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Scatter 64-bit numbers (the finaliser of splitmix64); ledgers hold its results, so it must never change."""
    mixed = numbers + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)
