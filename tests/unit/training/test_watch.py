"""Judgement on curves and answers that were made up so that the right verdict is known."""

import random
from dataclasses import replace

import pytest

from loramill.training.watch import Curves, concerns, memorising, not_learning, recitation, spikes, unstable

PER_EPOCH = 10


def curve(*epochs: float, noise: float = 0.05, seed: int = 1) -> list[float]:
    """A training loss that has these means, one epoch after the other."""
    draw = random.Random(seed)
    return [mean + draw.gauss(0, noise) for mean in epochs for _ in range(PER_EPOCH)]


def curves(train: list[float], validation: list[float]) -> Curves:
    return Curves(train, validation, PER_EPOCH, 100, 1e-3)


HEALTHY = curves(curve(3.0, 2.5, 2.2, 2.1), [3.1, 2.7, 2.4, 2.3, 2.25])


def test_a_healthy_training_hears_nothing() -> None:
    assert concerns(HEALTHY) == {}


def test_a_training_that_has_not_begun_hears_nothing() -> None:
    assert concerns(curves([], [])) == concerns(curves([], [3.0])) == concerns(curves([3.0], [3.0])) == {}


# memorising


def test_memorising_names_both_losses_the_kept_epoch_and_what_to_do() -> None:
    found = memorising(curves(curve(3.0, 2.0, 1.0, 0.5, noise=0.0), [3.1, 2.4, 2.3, 2.5, 2.8]))
    assert found is not None
    assert "training loss fell (2.00 → 0.50) while the validation loss rose (2.30 → 2.80)" in found
    assert "The weights of epoch 2 are kept. More rows help most" in found


@pytest.mark.parametrize(
    ("train", "validation"),
    [
        (curve(3.0, 2.0, 1.0, 0.5), [3.1, 2.4, 2.5, 2.3, 2.4]),  # up once, down, up once
        (curve(3.0, 2.0, 1.0, 0.5), [3.1, 2.4, 2.300, 2.305, 2.310]),  # level
        (curve(2.0, 2.1, 2.2, 2.4), [3.1, 2.4, 2.3, 2.5, 2.8]),  # both rise: that is another trouble
        (curve(3.0, 2.0), [3.1, 2.4, 2.5]),  # too early to tell
    ],
)
def test_what_is_no_memorising(train: list[float], validation: list[float]) -> None:
    assert memorising(curves(train, validation)) is None


# not learning

FLAT = curves(curve(8.0, 8.0, 8.0, 8.0), [8.0, 8.0, 7.99])


def test_a_flat_loss_is_said_with_the_rate_and_the_next_move() -> None:
    found = not_learning(FLAT)
    assert found is not None
    assert found.startswith("after 40 of 100 steps the training loss is 8.0")
    assert "learning rate is too low (it is 1.0e-03, try ten times that)" in found
    assert "chat template" in found


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_learning(seed: int) -> None:
    assert not_learning(replace(FLAT, train=curve(8.0, 8.0, 8.0, 8.0, noise=0.5, seed=seed)))


def test_a_loss_that_rises_is_no_learning() -> None:
    assert not_learning(replace(FLAT, train=curve(8.0, 8.5, 9.0)))


@pytest.mark.parametrize(
    "well",
    [
        replace(FLAT, train=curve(8.0, 7.9, 7.8, 7.7)),
        replace(FLAT, validation=[8.0, 7.5]),  # batches differ too much to see it, the same rows show it
        replace(FLAT, is_fresh=False),  # continues an adapter that knows it all
        replace(FLAT, steps=1000),  # still early
        replace(FLAT, train=curve(8.0)[:9]),
    ],
)
def test_what_is_no_lack_of_learning(well: Curves) -> None:
    assert not_learning(well) is None


# unstable


def with_spikes(*steps: int, height: float = 6.0) -> list[float]:
    losses = curve(2.2, 2.1, 2.0, 1.9)
    for step in steps:
        losses[step] = height
    return losses


def test_spikes_are_named_by_step_with_the_next_move() -> None:
    found = unstable(replace(HEALTHY, train=with_spikes(19, 29)))
    assert found is not None
    assert "training loss leapt at step 20, 30 (from about 2." in found
    assert "up to 6.00). A lower learning rate helps (it is 1.0e-03, try a third of that)" in found


def test_one_strange_row_is_not_an_unstable_training() -> None:
    assert unstable(replace(HEALTHY, train=with_spikes(20))) is None


def test_a_gradient_that_leaps_is_heard_before_the_loss() -> None:
    found = unstable(replace(HEALTHY, norms=with_spikes(20, 30, height=90.0)))
    assert found is not None
    assert "gradient norm leapt at step 21, 31" in found


def test_a_curve_without_noise_has_no_spikes() -> None:
    assert spikes([2.0] * 15 + [2.1, 2.0, 2.2]) == []
    assert spikes([2.0] * 15 + [3.1]) == [15]


@pytest.mark.parametrize("seed", range(20))
def test_batches_that_differ_are_no_unstable_training(seed: int) -> None:
    assert unstable(replace(HEALTHY, train=curve(2.2, 2.1, 2.0, 1.9, noise=0.4, seed=seed))) is None


# recitation


def sentence(seed: int, size: int = 80) -> str:
    draw = random.Random(seed)
    return "".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(size))


ROW, OTHER = sentence(1), sentence(2)


def test_a_passage_of_thirty_characters_is_recitation_and_comes_back_whole() -> None:
    answer = sentence(3)[:20] + ROW[10:45] + sentence(4)[:20]
    assert recitation(answer, "", f"{OTHER}\n{ROW}") == ROW[10:45]
    assert recitation(sentence(3)[:20] + ROW[10:40], "", ROW) == ROW[10:40]
    assert recitation(sentence(3)[:20] + ROW[10:39], "", ROW) is None


def test_latin_letters_need_a_longer_passage() -> None:
    row = "Under section 12 of the warehouse agreement the tenant shall return every pallet within five working days. "
    assert recitation(row[:90], "", row) == row[:90].strip()
    assert recitation(row[:89], "", row) is None


def test_what_the_answer_may_repeat_is_no_recitation() -> None:
    assert recitation(ROW, f"question\n{ROW}", ROW) is None  # in its own reference, its question, or said by the base
    assert recitation(ROW, "", "\n".join([ROW] * 3)) is None  # how the house writes
    assert recitation(ROW, "", "\n".join([ROW] * 2)) == ROW


def test_an_empty_answer_recites_nothing() -> None:
    assert recitation("", "", ROW) is None
