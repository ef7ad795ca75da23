"""Folds that keep near-duplicates together: what nearly is a training row says nothing about new ones."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from loramill.data.alike import alike_groups, connected
from loramill.data.fingerprints import fingerprints
from loramill.errors import ConfigError
from loramill.records import Record

T = TypeVar("T")


def groups_of(records: Sequence[Record], near_duplicate: float) -> NDArray[np.int64]:
    """Return for each record the smallest number among its near-duplicates, by question or by answer, as the split does."""
    parts = [fingerprints([getattr(record, level) for record in records]) for level in ("question", "answer")]
    links = np.concatenate([alike_groups(part, near_duplicate) for part in parts])
    return connected(len(records), np.tile(np.arange(len(records)), 2), links)


def fold_rows(groups: NDArray[np.int64], folds: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Return the numbers of the training and of the validation rows of each fold, in order.

    Raises:
        ConfigError: there are fewer groups than folds.
    """
    from sklearn.model_selection import GroupKFold

    found = len(np.unique(groups))
    if found < folds:
        raise ConfigError(
            f"search.folds is {folds}, but the rows form {found} groups of near-duplicates; "
            f"take at most {found} folds, or add rows that differ"
        )
    cut = GroupKFold(folds, shuffle=True, random_state=seed).split(groups, groups=groups)
    return [(train.tolist(), validation.tolist()) for train, validation in cut]


def picked(items: Sequence[T], numbers: Sequence[int]) -> list[T]:
    """Return some of the items."""
    return [items[number] for number in numbers]
