from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from loramill.config import Base
from loramill.errors import TrainingError
from loramill.pack.base import load_base
from loramill.prompts import encode
from scripts.base import checkpoint
from scripts.base.export import STOPS, export
from scripts.base.history import HISTORY, Progress, append_line, forget_lines_after, read_history
from scripts.base.train import (
    CHECKPOINTS,
    LEVEL,
    Run,
    go_back_to_level,
    make_optimizers,
    start,
    state_of,
    train,
    train_step,
)
from tests.factories import record
from tests.unit.base.conftest import TINY


def some_steps(run: Run, text: Path, count: int) -> list[float]:
    return [train_step(run, text / "reading.npz", "reading") for _ in range(count)]


def line(step: int) -> Progress:
    return Progress(step, 10 * step, 1.0, 0.5, "reading", 2.0, 100.0, 1.0)


class Clock:
    """A clock that goes on by a second each time it is asked."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("scripts.base.train.time.time", clock)
    monkeypatch.setattr("scripts.base.train.REPORT_STEPS", 2)
    return clock


def test_it_learns(text: Path, tmp_path: Path) -> None:
    losses = some_steps(start(tmp_path, TINY), text, 15)
    assert losses[-1] < losses[0] - 1.0


def test_resumed_equals_uninterrupted(text: Path, tmp_path: Path) -> None:
    whole = start(tmp_path / "whole", TINY)
    losses = some_steps(whole, text, 4)
    half = start(tmp_path / "half", TINY)
    first = some_steps(half, text, 2)
    checkpoint.save(tmp_path / "half" / CHECKPOINTS, half.step, state_of(half))
    resumed = start(tmp_path / "half", TINY)
    assert first + some_steps(resumed, text, 2) == losses
    assert (resumed.step, resumed.tokens, resumed.places) == (whole.step, whole.tokens, whole.places)
    ours, theirs = resumed.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_accumulated_parts_are_one_batch(text: Path, tmp_path: Path) -> None:
    runs = [start(tmp_path, replace(TINY, micro=micro, accumulate=4 // micro)) for micro in (1, 4)]
    losses = [some_steps(run, text, 2) for run in runs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)


def test_each_parameter_has_one_optimizer_and_the_matrices_have_muon(tmp_path: Path) -> None:
    model = start(tmp_path, TINY).model
    muon, adam = make_optimizers(model, TINY)
    matrices = [weight for group in muon.param_groups for weight in group["params"]]
    others = [weight for group in adam.param_groups for weight in group["params"]]
    assert {id(weight) for weight in [*matrices, *others]} == {id(weight) for weight in model.parameters()}
    assert len(matrices) + len(others) == len(list(model.parameters()))
    assert {tuple(weight.shape) for weight in matrices} == {(32, 32), (64, 32), (32, 64)}


def test_the_clock_ends_it_turns_it_to_talking_and_leaves_both_states(text: Path, tmp_path: Path, clock: Clock) -> None:
    heard: list[Progress] = []
    run = train(text, tmp_path, TINY, clock.now + 60.0, heard.append)
    assert run.step > 10
    assert [line.shelf for line in heard] == sorted(line.shelf for line in heard)
    assert {line.shelf for line in heard} == {"reading", "talking"}
    assert heard[-1].rate < 0.4
    assert read_history(tmp_path / HISTORY) == heard
    assert checkpoint.checkpoints(tmp_path / CHECKPOINTS)[-1].stem == f"{run.step:07d}"
    assert len(checkpoint.checkpoints(tmp_path / LEVEL)) == 1


def test_stopped_it_ends_in_order_and_the_next_goes_on(text: Path, tmp_path: Path, clock: Clock) -> None:
    asked = iter([False, False, False, True])
    first = train(text, tmp_path, TINY, clock.now + 1000.0, lambda line: None, lambda: next(asked))
    assert first.step == 3
    second = start(tmp_path, TINY)
    assert (second.step, second.spent) == (3, first.spent)


def test_extended_it_goes_on_from_before_the_rate_fell(text: Path, tmp_path: Path, clock: Clock) -> None:
    ended = train(text, tmp_path, TINY, clock.now + 60.0, lambda line: None)
    go_back_to_level(tmp_path)
    assert 0 < start(tmp_path, TINY).step < ended.step


def test_extending_what_has_not_begun_to_fall_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="leave out --extend"):
        go_back_to_level(tmp_path)


def test_a_checkpoint_of_another_shape_is_refused(tmp_path: Path) -> None:
    run = start(tmp_path, TINY)
    checkpoint.save(tmp_path / CHECKPOINTS, 1, state_of(run))
    with pytest.raises(TrainingError, match="another shape"):
        start(tmp_path, replace(TINY, width=64))


def test_pickled_checkpoints_are_refused_until_they_are_converted(text: Path, tmp_path: Path) -> None:
    run = start(tmp_path, TINY)
    some_steps(run, text, 2)
    (tmp_path / CHECKPOINTS).mkdir()
    torch.save(state_of(run), tmp_path / CHECKPOINTS / "0000002.pt")
    with pytest.raises(TrainingError, match=r"holds pickled checkpoints .*run `python -m scripts\.base convert`"):
        start(tmp_path, TINY)
    assert [path.name for path in checkpoint.convert(tmp_path / CHECKPOINTS)] == ["0000002.safetensors"]
    assert some_steps(start(tmp_path, TINY), text, 2) == some_steps(run, text, 2)
    assert not list(tmp_path.rglob("*.pt"))


def test_two_checkpoints_are_kept_and_a_half_written_one_is_not_seen(tmp_path: Path) -> None:
    for step in (1, 2, 30, 10):
        checkpoint.save(tmp_path, step, {"step": step})
    (tmp_path / "0000099.partial").write_bytes(b"half")
    assert [path.stem for path in checkpoint.checkpoints(tmp_path)] == ["0000010", "0000030"]
    assert checkpoint.load_latest(tmp_path) == {"step": 30}


def test_lines_that_a_kill_has_undone_are_taken_out(tmp_path: Path) -> None:
    path = tmp_path / HISTORY
    for step in (10, 20, 30):
        append_line(path, line(step))
    forget_lines_after(path, 20)
    assert read_history(path) == [line(10), line(20)]


def test_the_finished_base_is_a_base_like_any_other(text: Path, tmp_path: Path) -> None:
    run = start(tmp_path, TINY)
    folder = export(run.model, text / "tokenizer", tmp_path / "base")
    base = load_base(Base(source=str(folder)), tmp_path)
    row = encode(base.tokenizer, record("头痛怎么办？", "多休息。"), {}, 200)[0]
    assert row.ids[-1] == base.tokenizer.eos_token_id == base.model.config.eos_token_id
    assert base.stops == set(STOPS)
    marked: Any = base.tokenizer.apply_chat_template(
        [{"role": "user", "content": "头痛"}, {"role": "assistant", "content": "多休息。"}],
        return_dict=True,
        return_assistant_tokens_mask=True,
    )
    learnt = [token for token, mark in zip(marked["input_ids"], marked["assistant_masks"], strict=True) if mark]
    assert base.tokenizer.decode(learnt) == "多休息。<|im_end|>"
