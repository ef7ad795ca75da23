"""The course of a training with a time budget: how far it is, how fast it learns, what it reads.

The machine's speed is not known beforehand, so that nothing depends on a number of steps: the share of the time that is spent
drives the learning rate (warm-up, stable, decay) and the change from reading to talking. This module knows no model.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from scripts.base.recipe import Recipe
from scripts.base.tokens import Shelf, load_shelf


@dataclass(frozen=True)
class Place:
    """Where the next batch begins on a shelf."""

    epoch: int = 0
    token: int = 0


def progress(spent: float, left: float) -> float:
    """Return the share of the budget that is spent: ``spent`` seconds trained, ``left`` seconds to the end."""
    return min(1.0, spent / (spent + left)) if left > 0 else 1.0


def rate_factor(step: int, share: float, recipe: Recipe) -> float:
    """Return what the learning rates are multiplied by: a linear rise over steps, level, a linear fall over time."""
    rise = min(1.0, (step + 1) / recipe.warm_steps)
    fall = max(0.0, share - recipe.settle) / (1.0 - recipe.settle)
    return rise * (1.0 - (1.0 - recipe.floor) * min(1.0, fall))


def take(shelf: Path, place: Place, size: int, seed: int) -> tuple["np.ndarray[Any, np.dtype[np.uint16]]", Place]:
    """Return the next ``size`` token ids and the place behind them; each epoch has its own order of documents."""
    stream = _stream(shelf, place.epoch, seed)
    assert len(stream) >= size, f"{shelf} holds {len(stream)} tokens, a step takes {size}"
    if place.token + size > len(stream):
        place = Place(place.epoch + 1)
        stream = _stream(shelf, place.epoch, seed)
    return stream[place.token : place.token + size], Place(place.epoch, place.token + size)


@lru_cache(maxsize=2)
def _stream(path: Path, epoch: int, seed: int) -> "np.ndarray[Any, np.dtype[np.uint16]]":
    shelf: Shelf = load_shelf(path)
    documents = np.split(shelf.ids, shelf.ends[:-1])
    order = np.random.default_rng([seed, epoch]).permutation(len(documents))
    return np.concatenate([documents[number] for number in order])
