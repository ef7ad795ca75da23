from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from loramill.evaluation.verdict import (
    BETTER_SHARE,
    CHUNK,
    PRIMARY,
    WORSE_SHARE,
    Verdict,
    _flips,
    compare,
    compare_measures,
    holm,
    p_values,
)

CHANCE = np.random.default_rng(5)


def verdict(gains: list[float] | NDArray[np.float64], significance: float = 0.05) -> Verdict:
    """Compare a challenger that is better by ``gains``."""
    reference = np.full(len(gains), 3.0)
    return compare(reference - np.array(gains), reference, significance)


def test_the_same_losses_prove_nothing() -> None:
    losses = np.linspace(1, 2, 10)
    found = compare(losses, losses, 0.05)
    assert (found.outcome, found.gain, found.rows) == ("not proven", 0.0, 10)
    assert found.p_better == found.p_worse > 0.4
    assert found.low <= 0 <= found.high


@pytest.mark.parametrize("rows", [10, 40])
def test_a_clear_gain_is_better_and_a_clear_loss_worse(rows: int) -> None:
    gains = [0.5 + 0.01 * (index % 5) for index in range(rows)]
    good, bad = verdict(gains), verdict([-gain for gain in gains])
    assert (good.outcome, bad.outcome) == ("better", "worse")
    assert 0 < good.low <= good.gain <= good.high
    assert bad.low <= bad.gain <= bad.high < 0
    assert good.gain == pytest.approx(np.mean(gains))
    assert good.p_value == good.p_better == bad.p_worse == bad.p_value < 0.002


@pytest.mark.parametrize("rows", [1, 2, 5, 9, 12])
def test_p_of_few_rows_is_exact(rows: int) -> None:
    gains = np.random.default_rng(rows).normal(0.4, 1, rows)
    sums = [float(np.dot(signs, gains)) for signs in product((1, -1), repeat=rows)]
    higher, lower = (sum(sign * total >= sign * gains.sum() - 1e-9 for total in sums) / len(sums) for sign in (1, -1))
    found = verdict(gains)
    assert (found.p_better, found.p_worse) == (pytest.approx(higher), pytest.approx(lower))


def test_patterns_that_tie_with_the_one_seen_count_half() -> None:
    """Of 5 rows two tie: four patterns have the mean seen, itself among them, and none a higher one."""
    found = verdict([1.0, 1.0, 1.0, 0.0, 0.0])
    assert found.p_better == (1 + 3 / 2) / 32


def test_rounding_makes_no_difference_of_a_tie() -> None:
    """0.1 + 0.2 is not 0.3 for a computer; rows that gain and lose the same are even all the same."""
    found = verdict([0.1, 0.2, -0.3, 0.1, 0.2, -0.3])
    assert found.p_better == found.p_worse


@pytest.mark.parametrize("rows", [13, 41, 300])
def test_signs_of_many_rows_are_a_group_in_which_any_three_flip_independently(rows: int) -> None:
    patterns = np.vstack([np.zeros(rows), _flips(rows, 0)]).astype(bool)
    known = {row.tobytes() for row in patterns}
    assert len(known) == len(patterns) == 4096
    draw = np.random.default_rng(rows)
    for first, second in draw.integers(0, 4096, (50, 2)):
        assert (patterns[first] ^ patterns[second]).tobytes() in known
    assert np.ones(rows, bool).tobytes() in known
    for three in [draw.choice(rows, 3, replace=False) for _ in range(50)]:
        _, counts = np.unique(patterns[:, three], axis=0, return_counts=True)
        assert counts.tolist() == [512] * 8


def test_more_rows_than_odd_patterns_are_no_error() -> None:
    assert verdict(np.full(2200, 0.1)).outcome == "better"


def test_many_rows_are_flipped_in_parts_and_as_if_at_once() -> None:
    """All flips of 3,000 rows as floats would be 98 MB, of a million 33 GB."""
    rows = 3000
    gains = np.random.default_rng(6).normal(0.02, 1, rows)
    parts = [_flips(rows, start) for start in range(0, rows, CHUNK)]
    assert [part.shape[1] for part in parts] == [1024, 1024, 952]
    assert all(part.dtype == np.int8 for part in parts)
    sums = np.hstack(parts) @ gains
    assert p_values(gains)[0] == (1 + (sums < 0).sum()) / 4096


def test_p_of_many_rows_is_near_the_t_test() -> None:
    from scipy.stats import ttest_1samp

    gains = np.random.default_rng(2).normal(0.2, 1, 60)
    assert verdict(gains).p_better == pytest.approx(ttest_1samp(gains, 0, alternative="greater").pvalue, abs=0.02)


def test_many_comparisons_at_once_are_what_each_is_alone() -> None:
    gains = np.random.default_rng(4).normal(0.3, 1, (6, 15))
    together = np.array(p_values(gains)).T
    assert together == pytest.approx(np.array([p_values(row) for row in gains]))


def test_the_interval_leaves_0_out_if_and_only_if_a_difference_is_proven() -> None:
    draw = np.random.default_rng(11)
    outcomes = set()
    for _ in range(250):
        gains = draw.normal(draw.choice([-1.2, 0.0, 0.6]), 1, int(draw.integers(6, 16)))
        found = verdict(gains)
        assert (found.low > 0) == (found.outcome == "better"), gains
        assert (found.high < 0) == (found.outcome == "worse"), gains
        assert found.low <= found.gain <= found.high
        outcomes.add(found.outcome)
    assert outcomes == {"better", "worse", "not proven"}


def test_the_interval_ends_where_the_test_changes_its_mind() -> None:
    gains = np.random.default_rng(8).normal(0.4, 1, 20)
    found = verdict(gains)
    for end, share, side in ((found.low, BETTER_SHARE, 0), (found.high, WORSE_SHARE, 1)):
        outwards = -1e-6 if side == 0 else 1e-6
        beyond, within = (p_values(gains - (end + step))[side] for step in (outwards, -outwards))
        assert beyond <= 0.05 * share < within


@pytest.mark.parametrize(("rows", "significance"), [(1, 0.05), (4, 0.05), (10, 0.001)])
def test_rows_too_few_to_prove_anything_leave_the_interval_open(rows: int, significance: float) -> None:
    """Even the clearest pattern of 4 rows comes by chance once in 16: no gain can be ruled out, least of all 0."""
    found = verdict([5.0 + 0.001 * index for index in range(rows)], significance)
    assert found.outcome == "not proven"
    assert found.low == -np.inf
    assert found.detectable == np.inf


def test_a_difference_that_is_none_is_seldom_called_proven() -> None:
    """The long run is `benchmarks/verdict.py`'s; here, that no change of the code makes it twice as often."""
    p_better, p_worse = p_values(np.random.default_rng(3).standard_t(3, (1000, 10)))
    called = (p_better <= 0.05 * BETTER_SHARE) | (p_worse <= 0.05 * WORSE_SHARE)
    assert 0.02 < called.mean() < 0.06


def test_more_rows_show_smaller_gains() -> None:
    draw = np.random.default_rng(1)
    sizes = [verdict(draw.normal(0, 1, rows)).detectable for rows in (8, 30, 120)]
    assert sizes[0] > sizes[1] > sizes[2]


def test_a_challenger_whose_losses_are_no_numbers_is_worse() -> None:
    reference = np.linspace(1, 2, 10)
    broken = reference.copy()
    broken[3] = np.nan
    assert compare(broken, reference, 0.05).outcome == "worse"
    assert compare(reference, broken, 0.05).outcome == "not proven"
    assert compare(broken, broken, 0.05).outcome == "not proven"
    assert compare(np.full(10, np.inf), reference, 0.05).outcome == "worse"


@pytest.mark.parametrize(("first", "second"), [((3,), (4,)), ((0,), (0,)), ((2, 2), (2, 2)), ((), ())])
def test_losses_of_other_rows_are_refused(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"losses of the same rows are needed, got shapes \(.*\) and \(.*\)"):
        compare(np.ones(first), np.ones(second), 0.05)


def test_holm_corrects_the_smallest_p_most_and_keeps_the_order() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == {"a": pytest.approx(0.03), "c": 0.06, "b": 0.06}
    assert holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}
    assert holm({}) == {}


def paired(**gains: list[float]) -> dict[str, dict[str, list[float]]]:
    """Scores of a challenger that is better than base and champion by ``gains``."""
    return {
        measure: {"challenger": values, "base": [0.0] * len(values), "champion": [0.0] * len(values)}
        for measure, values in gains.items()
    }


SIX = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
"""All six rows gain: once in 64 by chance."""


def test_the_named_measure_stands_for_itself_and_the_others_share_the_significance() -> None:
    found = compare_measures(paired(loss=SIX, chrf=SIX, rouge_l=SIX, rules=[0.0] * 6), 0.05)
    assert set(found) == {"base", "champion"}
    outcomes = {measure: each.outcome for measure, each in found["champion"].items()}
    assert outcomes == {PRIMARY: "better", "chrf": "not proven", "rouge_l": "not proven", "rules": "not proven"}
    assert found["champion"]["chrf"].p_better == pytest.approx(3 / 64)
    assert compare_measures(paired(loss=SIX, chrf=SIX), 0.05)["base"]["chrf"].outcome == "better"


def test_higher_scores_are_better_and_a_drop_is_told() -> None:
    found = compare_measures(paired(chrf=[-value for value in [*SIX, *SIX]]), 0.05)["base"]["chrf"]
    assert (found.outcome, found.gain) == ("worse", pytest.approx(-1.25))


def test_measures_without_a_challenger_are_left_out() -> None:
    assert compare_measures({"chrf": {"base": [1.0]}}, 0.05) == {}
