"""The rule of pruning, alone."""

import itertools
from collections.abc import Sequence

import pytest

from loramill.search.pruning import CHECKS, Curve, Fate, fates

FELL, WAITS, ON = Fate(fell=True), Fate(waits=True), Fate()


def curve(*losses: float, ended: bool = True) -> Curve:
    return Curve(dict(enumerate(losses, start=1)), ended)


def paused(*losses: float) -> Curve:
    return curve(*losses, ended=False)


def fell(trials: list[Curve], cohort: int = 8, pruner: str = "halving") -> list[int]:
    judged = fates(pruner, cohort, len(trials), trials)  # type: ignore[arg-type]
    return [number for number, fate in enumerate(judged) if fate.fell]


def test_the_best_third_of_a_cohort_goes_on_whatever_their_order() -> None:
    cohort = [paused(loss) for loss in (9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0)]
    assert fell(cohort) == [0, 1, 2, 3, 4]
    assert fell(cohort[::-1]) == [3, 4, 5, 6, 7]
    assert fell(cohort, pruner="none") == []


def test_two_at_least_go_on() -> None:
    assert fell([paused(loss) for loss in (3.0, 2.0, 1.0)]) == [0]
    assert fell([paused(loss) for loss in (3.0, 2.0)]) == []


def test_a_later_cohort_is_held_against_those_before() -> None:
    first = [paused(loss) for loss in (1.0, 2.0, 3.0, 4.0)]
    assert fell([*first, *(paused(loss) for loss in (5.0, 6.0, 7.0, 8.0))], 4) == [2, 3, 4, 5, 6, 7]
    assert fell([*first, *(paused(loss) for loss in (0.1, 0.2, 0.3, 0.4))], 4) == [2, 3, 7]


def test_those_that_fell_are_no_rivals_at_later_rungs_and_the_best_loss_so_far_counts() -> None:
    trials = [paused(1, 9), paused(2, 2), paused(3, 4), paused(4, 3), *[paused(8)] * 6]
    assert fell(trials, 10) == [2, 3, *range(4, 10)]
    assert fates("halving", 10, 10, trials)[:2] == [Fate(until=4)] * 2


def test_only_the_first_second_and_fourth_check_are_rungs() -> None:
    for check in range(1, CHECKS + 1):
        trials = [paused(*[9.0] * (check - 1), loss) for loss in (1, 2, 3)]
        assert fell(trials) == ([2] if check in (1, 2, 4) else [])


def test_a_cohort_is_judged_when_all_of_it_have_come() -> None:
    here, coming = paused(1.0), Curve({})
    assert fates("halving", 4, 4, [here, here, here]) == [WAITS] * 3, "one has not begun"
    assert fates("halving", 4, 3, [here, here, here]) == [Fate(until=2)] * 3, "the last cohort may be smaller"
    assert fates("halving", 4, 4, [here, coming, here, here]) == [WAITS, Fate(until=1), WAITS, WAITS]
    failed = Curve({}, ended=True)
    assert fates("halving", 4, 4, [here, failed, paused(2), paused(3)]) == [Fate(until=2), ON, Fate(until=2), FELL]


def test_hyperbands_cohorts_take_turns_and_begin_to_prune_later() -> None:
    trials = [paused(*[float(number)] * 4) for number in range(12)]
    early = [
        paused(*list(one.losses.values())[:rung]) for one, rung in zip(trials, [1] * 3 + [2] * 3 + [4] * 6, strict=True)
    ]
    assert fell(early[:3], 3, "hyperband") == [2]
    judged = fates("hyperband", 3, 12, [*trials[:3], *[paused(5.0)] * 3, *[paused(6.0, 6.0)] * 3])
    assert judged[3:6] == [Fate(until=2)] * 3
    assert judged[6:9] == [Fate(until=4)] * 3


def test_what_is_on_record_is_never_taken_back() -> None:
    """With more trials, a cohort that ended small grows; those that fell in it have fallen."""
    ended = [Curve({1: 3.0}, ended=True, pruned=True), curve(*[2.0] * CHECKS), curve(*[2.5] * CHECKS)]
    assert fates("halving", 8, 8, [*ended, *[paused(9.0)] * 5])[:3] == [FELL, ON, ON]


@pytest.mark.parametrize("pruner", ["halving", "hyperband"])
def test_what_is_decided_never_changes_when_more_becomes_known(pruner: str) -> None:
    """However far the others have come: who goes past a rung or falls there does so for good."""
    starts = ((3, 3), (2, 2), (4, 1), (1, 1), (1.5, 2), (2, 1), (3, 3))
    courses = [[first, *[then] * 3] for first, then in starts]

    def seen(upto: Sequence[int]) -> list[Fate]:
        known = [paused(*losses[:checks]) for losses, checks in zip(courses, upto, strict=True)]
        return fates(pruner, 3, len(courses), known)  # type: ignore[arg-type]

    last, moved = [0] * len(courses), True
    while moved:
        judged = seen(last)
        moved = any(fate.until for fate in judged)
        last = [fate.until or checks for fate, checks in zip(judged, last, strict=True)]
    assert {fate.fell for fate in judged} == {True, False}
    for upto in itertools.product(*[[check for check in (0, 1, 2, 4) if check <= most] for most in last]):
        for number, fate in enumerate(seen(upto)):
            if fate.fell:
                assert judged[number].fell
                assert upto[number] == last[number]
            elif fate.until is not None:
                assert last[number] >= fate.until
            elif not fate.waits:
                assert not judged[number].fell
