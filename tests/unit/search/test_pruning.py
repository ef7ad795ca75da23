"""The rule of pruning, alone."""

import itertools

import pytest

from loramill.search.pruning import Curve, Fate, fates


def curve(*losses: float, epochs: int = 4, ended: bool = True) -> Curve:
    return Curve(epochs, dict(enumerate(losses, start=1)), ended)


def fell(pruner: str, trials: list[Curve]) -> list[int | None]:
    return [fate.fell for fate in fates(pruner, 4, trials)]  # type: ignore[arg-type]


def test_halving_keeps_the_better_half_and_spares_the_first_three() -> None:
    first = [9.0, 8.0, 7.0, 7.5, 8.5, 1.0, 7.0, 7.0]
    assert fell("halving", [curve(loss) for loss in first]) == [None, None, None, None, 1, None, None, None]
    assert fell("halving", [curve(loss) for loss in (1.0, 2.0, 3.0, 2.5)])[3] == 1
    assert fell("none", [curve(loss) for loss in first]) == [None] * 8


def test_those_that_fell_are_no_rivals_at_later_rungs() -> None:
    trials = [curve(1, 1), curve(2, 2), curve(3, 3), curve(4), curve(1.5, 1.5), curve(1.2, 1.9)]
    assert fell("halving", trials) == [None, None, None, 1, None, None]
    assert fell("halving", [*trials, curve(1.1, 9.0)])[-1] is None, "its best so far counts"
    late = [curve(5, loss) for loss in (1, 2, 3, 4)]
    assert fell("halving", late) == [None, None, None, 2]


def test_the_last_epoch_is_no_rung() -> None:
    assert fell("halving", [curve(5, 5, 5, loss) for loss in (1, 2, 3, 4)]) == [None] * 4


def test_hyperband_prunes_in_brackets_that_begin_later() -> None:
    trials = [curve(5 + number, 5 + number, 5 + number, 1) for number in range(12)]
    expected = [None] * 9 + [1, 2, None]
    assert fell("hyperband", trials) == expected


def test_who_waits_for_lower_numbers_is_open_and_judged_later() -> None:
    trials = [curve(1), curve(2), curve(ended=False), curve(3)]
    assert fates("halving", 4, trials)[3] == Fate(None, 1)
    assert fates("halving", 4, [*trials[:2], curve(2.5), trials[3]])[3] == Fate(1, None)
    assert fates("halving", 4, [*trials[:2], curve(), trials[3]])[3] == Fate(None, None), "it never came so far"


@pytest.mark.parametrize("pruner", ["halving", "hyperband"])
def test_what_is_decided_never_changes_when_more_becomes_known(pruner: str) -> None:
    """However far the others have come: a verdict that is given stays."""
    whole = [
        curve(*losses)
        for losses in ([3, 3, 3, 3], [2, 2, 2, 2], [4, 4, 4, 4], [1, 1, 1, 1], [5, 5, 5, 5], [2, 3, 1, 1])
    ]
    final = fates(pruner, 4, whole)  # type: ignore[arg-type]
    for seen in itertools.product((0, 1, 3, 4), repeat=len(whole)):
        known = [
            Curve(4, {epoch: loss for epoch, loss in one.losses.items() if epoch <= upto}, upto == 4)
            for one, upto in zip(whole, seen, strict=True)
        ]
        for number, fate in enumerate(fates(pruner, 4, known)):  # type: ignore[arg-type]
            if fate.fell is not None:
                assert fate.fell == final[number].fell
            elif fate.open is None:
                assert final[number].fell is None
