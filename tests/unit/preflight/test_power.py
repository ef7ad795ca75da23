"""The closed form against the test that gives the verdict."""

from math import inf

import numpy as np
import pytest

from loramill.evaluation.verdict import BETTER_SHARE, compare, p_values
from loramill.preflight.power import fewest_rows, smallest_gain


@pytest.mark.parametrize("rows", [8, 10])
def test_the_smallest_gain_is_proven_four_times_in_five(rows: int) -> None:
    draw = np.random.default_rng(1)
    gains = draw.normal(smallest_gain(rows, 0.05), 1.0, size=(300, rows))
    proven = p_values(gains)[0] <= BETTER_SHARE * 0.05
    assert np.mean(proven) == pytest.approx(0.8, abs=0.07)


def test_it_agrees_with_the_verdict_about_rows_that_were_scored() -> None:
    gains = np.random.default_rng(2).normal(0.3, 0.7, size=41)
    verdict = compare(-gains, np.zeros(41), 0.05)
    assert smallest_gain(41, 0.05) * gains.std(ddof=1) == pytest.approx(verdict.detectable)


def test_too_few_rows_can_prove_nothing_however_large_the_gain() -> None:
    assert fewest_rows(0.05) == 5
    assert smallest_gain(4, 0.05) == inf
    assert compare(np.zeros(4), np.full(4, 100.0), 0.05).outcome == "not proven"
    assert compare(np.zeros(5), np.full(5, 100.0), 0.05).outcome == "better"
    assert smallest_gain(0, 0.05) == inf
