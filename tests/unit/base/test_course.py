from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scripts.base.course import Place, progress, rate_factor, take
from scripts.base.recipe import Recipe
from scripts.base.tokens import load_shelf


@pytest.mark.parametrize(("spent", "left", "share"), [(0, 100, 0.0), (75, 25, 0.75), (50, 0, 1.0), (50, -3, 1.0)])
def test_progress_is_the_share_of_the_time(spent: float, left: float, share: float) -> None:
    assert progress(spent, left) == share


def test_the_rate_rises_over_steps_is_level_and_falls_over_time() -> None:
    recipe = replace(Recipe(), warm_steps=4, settle=0.8, floor=0.1)
    assert [rate_factor(step, 0.0, recipe) for step in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rate_factor(99, 0.8, recipe) == 1.0
    assert rate_factor(99, 0.9, recipe) == pytest.approx(0.55)
    assert rate_factor(99, 1.0, recipe) == pytest.approx(0.1)


def test_an_epoch_reads_each_document_once_and_the_next_in_another_order(text: Path) -> None:
    shelf = text / "reading.npz"
    size = len(load_shelf(shelf).ids)
    first, place = take(shelf, Place(), size, seed=1)
    second, place = take(shelf, place, size, seed=1)
    assert place == Place(1, size)
    assert np.array_equal(np.sort(first), np.sort(second))
    assert not np.array_equal(first, second)


def test_small_bites_are_the_same_text_as_a_large_one(text: Path) -> None:
    shelf = text / "reading.npz"
    whole, _ = take(shelf, Place(), 60, seed=1)
    place, bites = Place(), []
    for _ in range(3):
        bite, place = take(shelf, place, 20, seed=1)
        bites.append(bite)
    assert np.array_equal(np.concatenate(bites), whole)


def test_a_bite_larger_than_the_shelf_is_refused(text: Path) -> None:
    with pytest.raises(AssertionError, match="a step takes 100000000"):
        take(text / "reading.npz", Place(), 100_000_000, seed=1)
