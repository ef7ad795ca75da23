from itertools import product

import numpy as np
import pytest

from loramill.evaluation.verdict import compare

CHANCE = np.random.default_rng(5)


def verdict(gains: list[float], significance: float = 0.05):
    """Compare a challenger that is better by ``gains``."""
    reference = 3.0 + CHANCE.random(len(gains))
    return compare(reference - np.array(gains), reference, significance)


def test_the_same_losses_prove_nothing() -> None:
    losses = np.linspace(1, 2, 10)
    found = compare(losses, losses, 0.05)
    assert (found.outcome, found.p_value, found.gain, found.rows) == ("not proven", 1.0, 0.0, 10)
    assert found.low <= 0 <= found.high


@pytest.mark.parametrize("rows", [10, 40])
def test_a_clear_gain_is_better_and_a_clear_loss_worse(rows: int) -> None:
    gains = [0.5 + 0.01 * (index % 5) for index in range(rows)]
    good, bad = verdict(gains), verdict([-gain for gain in gains])
    assert (good.outcome, bad.outcome) == ("better", "worse")
    assert 0 < good.low <= good.gain <= good.high
    assert bad.low <= bad.gain <= bad.high < 0
    assert good.gain == pytest.approx(np.mean(gains))
    assert good.p_value == bad.p_value < 0.01


@pytest.mark.parametrize("rows", [1, 2, 5, 9, 12])
def test_p_of_few_rows_is_exact(rows: int) -> None:
    gains = [float(gain) for gain in np.random.default_rng(rows).normal(0.4, 1, rows)]
    seen = abs(sum(gains))
    patterns = [
        abs(sum(sign * gain for sign, gain in zip(signs, gains, strict=True)))
        for signs in product((1, -1), repeat=rows)
    ]
    exact = sum(value >= seen - 1e-9 for value in patterns) / len(patterns)
    assert verdict(gains).p_value == pytest.approx(exact)


def test_p_of_rows_that_all_gain_is_two_patterns() -> None:
    assert verdict([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).p_value == 2 / 64


def test_p_of_many_rows_is_near_the_t_test() -> None:
    from scipy.stats import ttest_1samp

    gains = np.random.default_rng(2).normal(0.2, 1, 60)
    assert verdict(list(gains)).p_value == pytest.approx(ttest_1samp(gains, 0).pvalue, abs=0.02)


def test_the_interval_holds_nothing_if_and_only_if_a_difference_is_proven() -> None:
    draw = np.random.default_rng(11)
    outcomes = set()
    for _ in range(250):
        gains = draw.normal(draw.choice([-0.6, 0.0, 0.6]), 1, int(draw.integers(6, 16)))
        found = verdict(list(gains))
        assert (found.low <= 0 <= found.high) == (found.outcome == "not proven"), gains
        assert found.low <= found.gain <= found.high
        outcomes.add(found.outcome)
    assert outcomes == {"better", "worse", "not proven"}


@pytest.mark.parametrize(("rows", "significance"), [(1, 0.05), (4, 0.05), (5, 0.05), (10, 0.001)])
def test_rows_too_few_to_prove_anything_leave_the_interval_open(rows: int, significance: float) -> None:
    """Even the clearest pattern of 4 rows comes by chance once in 8: no shift can be ruled out, least of all 0."""
    found = verdict([5.0 + 0.001 * index for index in range(rows)], significance)
    assert found.outcome == "not proven"
    assert found.low <= 0 <= found.high


def test_a_difference_that_is_none_is_seldom_called_proven() -> None:
    draw = np.random.default_rng(3)
    found = [verdict(list(draw.normal(0, 1, 8))).outcome for _ in range(300)]
    assert sum(outcome != "not proven" for outcome in found) / 300 < 0.09


def test_more_rows_show_smaller_gains() -> None:
    draw = np.random.default_rng(1)
    sizes = [verdict(list(draw.normal(0, 1, rows))).detectable for rows in (8, 30, 120)]
    assert sizes[0] > sizes[1] > sizes[2]
    assert verdict([0.1]).detectable == float("inf")


def test_a_challenger_whose_losses_are_no_numbers_is_not_better() -> None:
    reference = np.linspace(1, 2, 10)
    with np.errstate(invalid="ignore"):
        assert compare(reference * np.nan, reference, 0.05).outcome != "better"


@pytest.mark.parametrize(("first", "second"), [((3,), (4,)), ((0,), (0,)), ((2, 2), (2, 2)), ((), ())])
def test_losses_of_other_rows_are_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"losses of the same rows are needed, got shapes \(.*\) and \(.*\)"):
        compare(np.ones(first), np.ones(second), 0.05)
