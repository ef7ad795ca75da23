import re
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from torch import Tensor

from loramill.config import Method
from loramill.errors import TrainingError
from loramill.pack.forward import Draw
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.pack.rows import Batch
from loramill.training.course import Course
from loramill.training.loop import Silence, evaluate, fit
from tests.factories import rows

PLENTY = 10**6


class Notes(Silence):
    def __init__(self) -> None:
        self.said: list[str] = []

    def on_note(self, text: str) -> None:
        if not text.startswith("plan: "):
            self.said.append(text)


def course(pack: Pack, **changes: object) -> Course:
    some = rows(pack.base, 12)
    plain: dict[str, object] = {
        "name": "a",
        "shape": Shape(rank=2, alpha=4, dropout=0.1, seed=1),
        "train": tuple(some[:8]),
        "validation": tuple(some[8:]),
        "learning_rate": 5e-3,
        "epochs": 2,
        "batch": 4,
        "seed": 1,
    }
    return Course(**(plain | changes))  # type: ignore[arg-type]


Losses = Callable[[Pack, Sequence[Batch], "Mapping[str, Draw] | None"], list[Tensor]]


def out_of_memory(monkeypatch: pytest.MonkeyPatch, when: Callable[[int], bool]) -> list[int]:
    """Let the passes of training for which ``when`` holds run out of memory; return the tokens of all passes."""
    plain: Losses = Pack.losses
    asked: list[int] = []

    def losses(self: Pack, batches: Sequence[Batch], draws: Mapping[str, Draw] | None = None) -> list[Tensor]:
        if not torch.is_grad_enabled():
            return plain(self, batches, draws)
        asked.append(sum(len(row.ids) for batch in batches for row in batch.rows))
        if when(len(asked)):
            raise torch.OutOfMemoryError
        return plain(self, batches, draws)

    monkeypatch.setattr(Pack, "losses", losses)
    return asked


@pytest.mark.parametrize("at", [1, 2])
def test_out_of_memory_halves_the_pass_with_the_same_loss(pack: Pack, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    one, notes = course(pack), Notes()
    plain = fit(pack, [one], tokens_per_pass=PLENTY)["a"]
    asked = out_of_memory(monkeypatch, lambda count: count == at)
    halved = fit(pack, [one], tokens_per_pass=PLENTY, listener=notes)["a"]
    used = asked[at - 1]
    assert notes.said == [f"out of memory: {used} tokens per pass become {used // 2}; the loss stays the same"]
    assert max(asked[at:]) <= used // 2
    assert halved.progress.train_losses == pytest.approx(plain.progress.train_losses, abs=1e-5)
    assert all((halved.best[key] - plain.best[key]).abs().max() < 1e-4 for key in plain.best)


def test_out_of_memory_in_the_second_pass_does_not_count_the_first_twice(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient that the first pass left is thrown away."""
    one = course(pack, epochs=1)
    budget = max(len(row.ids) for row in one.train) * 2
    plain = fit(pack, [one], tokens_per_pass=budget)["a"]
    out_of_memory(monkeypatch, lambda count: count == 2)
    halved = fit(pack, [one], tokens_per_pass=budget)["a"]
    assert halved.progress.train_losses == pytest.approx(plain.progress.train_losses, abs=1e-5)
    assert all((halved.best[key] - plain.best[key]).abs().max() < 1e-4 for key in plain.best)


def test_a_single_row_that_does_not_fit_is_refused(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    one = course(pack)
    longest = max(len(row.ids) for row in one.rows_of_step(0))
    out_of_memory(monkeypatch, lambda count: True)
    with pytest.raises(
        TrainingError, match=rf"out of memory with a single row of {longest} tokens; take a smaller base, a shorter"
    ):
        fit(pack, [one], tokens_per_pass=PLENTY)
    assert pack.names == []


def test_out_of_memory_in_validation_halves_the_pass_too(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    one = course(pack, epochs=1)
    plain = fit(pack, [one], tokens_per_pass=PLENTY)["a"]
    losses: Losses = Pack.losses
    left = [1]

    def once(self: Pack, batches: Sequence[Batch], draws: Mapping[str, Draw] | None = None) -> list[Tensor]:
        if not torch.is_grad_enabled() and left:
            left.pop()
            raise torch.OutOfMemoryError
        return losses(self, batches, draws)

    monkeypatch.setattr(Pack, "losses", once)
    halved = fit(pack, [one], tokens_per_pass=PLENTY)["a"]
    assert halved.progress.validation_losses == pytest.approx(plain.progress.validation_losses, abs=1e-4)


def test_patience_stops_and_the_best_weights_are_kept(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Validation says 5, 3, 4, 4: the second is kept, two epochs later it ends."""
    from loramill.training import loop

    losses = iter([5.0, 3.0, 4.0, 4.0])
    kept: list[dict[str, Tensor]] = []

    def evaluate(pack: Pack, name: str, some: object, tokens: int) -> list[tuple[float, int]]:
        kept.append(pack.weights(name))
        return [(next(losses), 1)]

    monkeypatch.setattr(loop, "evaluate", evaluate)
    outcome = fit(pack, [course(pack, epochs=9, patience=2)], tokens_per_pass=PLENTY)["a"]
    progress = outcome.progress
    assert (progress.status, progress.step, progress.best_epoch, progress.best_loss) == ("stopped early", 6, 1, 3.0)
    assert all(torch.equal(outcome.best[key], kept[1][key]) for key in outcome.best)
    assert not all(torch.equal(outcome.best[key], kept[3][key]) for key in outcome.best)


def test_a_listener_may_prune(pack: Pack) -> None:
    class Pruner(Silence):
        def on_epoch(self, name: str, epoch: int, validation_loss: float) -> bool:
            return epoch == 1

    outcome = fit(pack, [course(pack, epochs=3)], tokens_per_pass=PLENTY, listener=Pruner())["a"]
    assert (outcome.progress.status, outcome.progress.step) == ("pruned", 2)


def test_a_member_that_diverges_says_so(pack: Pack) -> None:
    pack.add("probe", Shape(2, 4))
    broken = {key: torch.full_like(value, float("nan")) for key, value in pack.weights("probe").items()}
    pack.remove("probe")
    notes = Notes()
    outcome = fit(pack, [course(pack, start=broken)], tokens_per_pass=PLENTY, listener=notes)["a"]
    assert outcome.progress.status == "diverged"
    assert len(notes.said) == 1
    assert re.search(r"a: the loss was not finite at step 1; .*A lower learning rate helps", notes.said[0])


@pytest.mark.parametrize("method", ["lora", "rslora", "lora-plus", "eva"])
def test_a_fresh_adapter_leaves_every_number_of_the_base_as_it_is(pack: Pack, method: Method) -> None:
    one = course(pack)
    pack.add("fresh", Shape(rank=4, alpha=8, dropout=0.1, seed=1, method=method), one.train)
    try:
        assert evaluate(pack, "fresh", one.validation, PLENTY) == evaluate(pack, None, one.validation, PLENTY)
    finally:
        pack.remove("fresh")


def ended_weights(pack: Pack, one: Course) -> Mapping[str, Tensor]:
    return fit(pack, [one], tokens_per_pass=PLENTY)[one.name].best


def test_so_the_same_rows_are_asked_once_before_the_first_step(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    plain: Losses = Pack.losses
    asked: list[str | None] = []

    def losses(self: Pack, batches: Sequence[Batch], draws: Mapping[str, Draw] | None = None) -> list[Tensor]:
        asked.extend(batch.member for batch in batches if not torch.is_grad_enabled())
        return plain(self, batches, draws)

    monkeypatch.setattr(Pack, "losses", losses)
    one = course(pack, epochs=1)
    other = course(pack, name="c", validation=one.train)
    dora = course(pack, name="d", shape=Shape(rank=2, alpha=4, method="dora"), epochs=1)
    start = {key: value + 0.1 for key, value in ended_weights(pack, one).items()}
    asked.clear()
    warm = course(pack, name="w", epochs=1, start=start)
    ended = fit(pack, [one, course(pack, name="b", epochs=1), other, dora, warm], tokens_per_pass=PLENTY)
    assert asked[:4] == ["a", "c", "d", "w"], "what begins otherwise is asked itself"
    firsts = {name: each.progress.validation_losses[0] for name, each in ended.items()}
    assert firsts["a"] == firsts["b"] != firsts["c"]
    assert ended["b"].progress.validation_losses[1] != ended["a"].progress.validation_losses[0]
