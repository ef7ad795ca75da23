"""What a search may say, in worlds whose truth is known: a dozen searches without a model each."""

import math

import numpy as np
import pytest

from loramill.config import LearningRates, SearchConfig, Settings
from loramill.search.noise import Judges, difference, expected_gain, optimism, rank_matters, seed_error, threshold
from tests.unit.search.play import Pack, dreamt, noisy, valley

WORLDS = 10
REPEATED = SearchConfig(trials=16, pack=4, epochs=4, repeats=3, rank=(4, 8, 16, 32))


@pytest.fixture(autouse=True)
def _imported(quietly) -> None:  # type: ignore[no-untyped-def]
    quietly("optuna")


def level(settings: Settings, check: int) -> float:
    """Every setting is as good as any other."""
    return 2 + 0.5 / check


def steep(settings: Settings, check: int) -> float:
    """Rank 32 is better by far."""
    return valley(settings, check) - 0.5 * (settings.rank == 32)


def test_a_rank_that_is_better_by_more_than_the_noise_is_taken_although_it_is_larger() -> None:
    for world in range(2):
        found, _ = dreamt(REPEATED.model_copy(update={"seed": world}), Pack(noisy(steep, world=world), 4))
        assert found.settings.rank == 32
        assert found.said == "ranks 4 to 16 are worse by more than the noise: taking 32"


def test_the_loss_of_the_winner_among_equals_is_corrected_upwards() -> None:
    """All are worth 2.0625 on average; the best of sixteen looks better than that."""
    claimed, corrected = [], []
    for world in range(WORLDS):
        config = SearchConfig(trials=16, epochs=4, seed=world, pruner="none")
        found, _ = dreamt(config, Pack(noisy(level, 0.0, 0.4, world), 4))
        hard = np.random.default_rng(world).normal(0, 0.5, 24).mean()
        claimed.append(found.loss - hard - 2.0625)
        corrected.append(found.corrected - hard - 2.0625)
    assert np.mean(claimed) < -0.05
    assert abs(np.mean(corrected)) < abs(np.mean(claimed)) / 2


def test_a_difference_is_paired_by_row() -> None:
    """Rows differ by far more than the two settings do, yet the difference is certain."""
    rows = Judges(np.full(40, 2), np.arange(40))
    draw = np.random.default_rng(1)
    hard = draw.normal(10, 5, 40)
    gap = difference(hard + 0.2 + draw.normal(0, 0.05, 40), hard, rows)
    assert gap.mean == pytest.approx(0.1, abs=0.02)
    assert gap.error < 0.01


def test_near_duplicates_count_as_one_observation() -> None:
    draw = np.random.default_rng(2)
    one = draw.normal(0, 1, 10)
    apart = difference(one, np.zeros(10), Judges(np.ones(10, int), np.arange(10)))
    copied = difference(np.repeat(one, 4), np.zeros(40), Judges(np.ones(40, int), np.repeat(np.arange(10), 4)))
    assert copied.error == pytest.approx(apart.error)
    assert difference(one, np.zeros(10), Judges(np.ones(10, int), np.zeros(10, int))).error == math.inf


def test_a_single_candidate_has_no_optimism() -> None:
    rows = Judges(np.ones(30, int), np.arange(30))
    losses = np.random.default_rng(3).normal(2, 1, 30)
    assert optimism([losses], rows, 1) == pytest.approx(0)
    assert optimism([losses, losses + 1], Judges(np.ones(30, int), np.zeros(30, int)), 1) == pytest.approx(0)


def test_the_gain_to_expect_falls_with_the_trials_and_with_their_spread() -> None:
    assert expected_gain([1, 2], 2, 9) == math.inf
    assert expected_gain([1, 1.1, 1.2, 2], 4, 4) == pytest.approx(0.1 * math.log(2))
    assert expected_gain([1, 1.1, 1.2, 2], 100, 4) < expected_gain([1, 1.1, 1.2, 2], 10, 4)
    assert expected_gain([1, 1, 1, 2], 4, 4) == 0


def test_what_a_seed_does_to_all_settings_is_no_noise_between_them() -> None:
    seeds = np.array([0.0, 0.3, -0.2])
    assert seed_error(np.array([[1.0], [2.0]]) + seeds) == pytest.approx(0, abs=1e-12)
    draw = np.random.default_rng(4)
    assert seed_error(draw.normal(0, 0.1, (40, 4))) == pytest.approx(0.1 * math.sqrt(2 / 4), rel=0.2)
    assert seed_error(np.array([[1.0], [2.0]])) == 0


def test_more_comparisons_need_a_larger_difference() -> None:
    assert threshold(2, 10_000) == pytest.approx(1.96, abs=0.01)
    assert threshold(4, 10_000) == pytest.approx(2.64, abs=0.01)
    assert threshold(2, 6) > 2.5


def test_rank_is_judged_beside_the_learning_rate() -> None:
    draw = np.random.default_rng(5)
    rates = draw.normal(0, 1, 30)
    others = np.stack([np.ones(30), rates, rates**2], axis=1)
    ranks = [4, 8, 16] * 10
    flat = rates**2 + draw.normal(0, 0.1, 30)
    chance = rank_matters(ranks, others, list(flat))
    assert chance is not None
    assert chance > 0.05
    tilted = rank_matters(ranks, others, list(flat + np.array(ranks) / 8))
    assert tilted is not None
    assert tilted < 1e-3
    assert rank_matters([4, 8, 16], others[:3], [1, 2, 3]) is None
    assert rank_matters(ranks, others, [1.0] * 30) == 1.0


@pytest.mark.parametrize(("pruner", "lag"), [("none", 4), ("halving", 1), ("hyperband", 1)])
def test_a_search_stops_when_nothing_is_to_be_gained(pruner: str, lag: int) -> None:
    """All trials are alike but for the rows: more of them gain less than the noise."""
    config = SearchConfig(trials=64, epochs=2, lag=lag, pruner=pruner)
    _, entries = dreamt(config, Pack(noisy(level, 0.001, 0.3), 4))
    assert 8 + 3 <= len(entries) < (40 if pruner == "none" else 64)
    again = [
        len(dreamt(config.model_copy(update={"pack": pack}), Pack(noisy(level, 0.001, 0.3), pack))[1])
        for pack in (1, 7)
    ]
    assert again == [len(entries)] * 2


def test_a_rate_at_the_edge_is_searched_on() -> None:
    """While trials still differ by more than the noise, all of them are made."""
    config = SearchConfig(trials=24, epochs=2, pruner="none", learning_rate=LearningRates(low=1e-5, high=1e-1))
    assert len(dreamt(config, Pack(noisy(valley, 0.001, 0.001), 4))[1]) == 24
