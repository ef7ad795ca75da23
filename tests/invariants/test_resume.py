"""A training that was killed ends as one that was not, bit for bit."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from loramill.errors import TrainingError
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.training import loop
from loramill.training.checkpoint import TENSORS
from loramill.training.loop import Silence, Tick, fit
from tests.factories import rows, tiny_base
from tests.invariants.test_pack import course


class KilledError(Exception):
    """Stands for kill -9 at a step."""


class Killer(Silence):
    def __init__(self, at: int) -> None:
        self.at = at

    def on_tick(self, tick: Tick) -> None:
        if tick.done == self.at:
            raise KilledError


@pytest.fixture
def pack(tiny_folder: Path) -> Pack:
    return Pack(tiny_base(tiny_folder))


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("at", [1, 4, 5, 11])
def test_resume_equals_uninterrupted_bit_for_bit(pack: Pack, tmp_path: Path, at: int) -> None:
    some = rows(pack.base, 16)
    courses = [course("a", some, epochs=3), course("b", some, shape=Shape(8, 8, 0.1, seed=2), seed=2, epochs=3)]
    whole = fit(pack, courses, tokens_per_pass=10**6)
    with pytest.raises(KilledError):
        fit(pack, courses, tokens_per_pass=10**6, listener=Killer(at), checkpoint=tmp_path / "c", save_steps=2)
    resumed = fit(pack, courses, tokens_per_pass=10**6, checkpoint=tmp_path / "c", save_steps=2)
    for name in ("a", "b"):
        assert resumed[name].progress == whole[name].progress
        assert same(resumed[name].best, whole[name].best)


def test_best_weights_that_are_not_the_last_survive_a_kill(
    pack: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best epoch lies before the kill, and no later one is as good."""
    one = course("a", rows(pack.base, 16), epochs=3)

    def trained(at: int | None) -> Mapping[str, torch.Tensor]:
        losses = iter([5.0, 3.0, 4.0, 4.0])
        monkeypatch.setattr(loop, "evaluate", lambda *_: [(next(losses), 1)])
        if at is not None:
            with pytest.raises(KilledError):
                fit(pack, [one], tokens_per_pass=10**6, listener=Killer(at), checkpoint=tmp_path / "c", save_steps=2)
        outcome = fit(pack, [one], tokens_per_pass=10**6, checkpoint=tmp_path / "c" if at else None, save_steps=2)["a"]
        assert outcome.progress.best_epoch == 1
        return outcome.best

    assert same(trained(at=7), trained(at=None))


def test_a_checkpoint_of_another_course_is_not_continued(pack: Pack, tmp_path: Path) -> None:
    some = rows(pack.base, 16)
    fit(pack, [course("a", some, epochs=1)], tokens_per_pass=10**6, checkpoint=tmp_path / "c", save_steps=1)
    other = course("a", some, epochs=1, learning_rate=1e-3)
    resumed = fit(pack, [other], tokens_per_pass=10**6, checkpoint=tmp_path / "c", save_steps=1)
    assert same(resumed["a"].best, fit(pack, [other], tokens_per_pass=10**6)["a"].best)


def test_a_damaged_checkpoint_is_refused_by_name(pack: Pack, tmp_path: Path) -> None:
    some = rows(pack.base, 16)
    one = course("a", some, epochs=1)
    fit(pack, [one], tokens_per_pass=10**6, checkpoint=tmp_path / "c", save_steps=1)
    tensors = tmp_path / "c" / TENSORS
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(content)
    with pytest.raises(TrainingError, match=r"damaged .*delete that folder"):
        fit(pack, [one], tokens_per_pass=10**6, checkpoint=tmp_path / "c", save_steps=1)


def test_each_member_is_continued_on_its_own(pack: Pack, tmp_path: Path) -> None:
    """One that is new in the company begins, one that was there goes on; both end as alone."""
    some = rows(pack.base, 16)
    old, new = course("old", some, epochs=3), course("new", some, epochs=2, seed=4, shape=Shape(2, 4, 0.1, seed=4))
    with pytest.raises(KilledError):
        fit(pack, [old], tokens_per_pass=10**6, listener=Killer(7), checkpoint=tmp_path / "c", save_steps=2)
    resumed = fit(pack, [old, new], tokens_per_pass=10**6, checkpoint=tmp_path / "c", save_steps=2)
    for one in (old, new):
        alone = fit(pack, [one], tokens_per_pass=10**6)[one.name]
        assert resumed[one.name].progress.train_losses == pytest.approx(alone.progress.train_losses, abs=1e-4)
