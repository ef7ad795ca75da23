"""Rounds on a real pack: the tiny base."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from loramill.config import LearningConfig, LearningRates, SearchConfig, Settings
from loramill.pack.members import Pack
from loramill.prompts import Row
from loramill.search.find import Search, find
from loramill.search.noise import Judges
from loramill.search.run import Ended, Trainer
from loramill.search.space import Space, linear_layers
from loramill.search.study import Entry
from loramill.search.verdict import Found
from loramill.training.course import Course, course_of
from loramill.training.loop import Silence, Tick, fit
from loramill.training.student import Progress
from tests.factories import rows
from tests.unit.search.play import KilledError, MemoryRecord, facts

CONFIG = SearchConfig(trials=5, epochs=2, rank=(2, 4), learning_rate=LearningRates(low=1e-3, high=1e-2))
LEARNING = LearningConfig(batch=4)


class Notes(Silence):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.ticks = 0
        self.dies_at: set[int] = set()

    def on_tick(self, tick: Tick) -> None:
        self.ticks += len(tick.losses)
        if any(at <= self.ticks for at in self.dies_at):
            self.dies_at.remove(min(self.dies_at))
            raise KilledError

    def on_note(self, text: str) -> None:
        self.said.append(text)


class School:
    """A search on the tiny base."""

    def __init__(self, pack: Pack, folder: Path) -> None:
        some = rows(pack.base, 24)
        self.pack, self.folder = pack, folder
        self.ended: list[Ended] = []
        self.notes = Notes()
        self.folds: list[tuple[list[Row], list[Row]]] = [(some[:16], some[16:])]

    def search(self, config: SearchConfig, record: MemoryRecord | None = None) -> tuple[Found, list[Entry]]:
        self.ended.clear()
        targets = np.array([row.targets for _, validation in self.folds for row in validation])
        judges = Judges(targets, np.arange(len(targets)))
        space = Space(config, LEARNING, linear_layers(self.pack.base.model))
        self.trainer = Trainer(
            self.pack, config, LEARNING, self.folds, self.notes, self.ended.append, self.folder / "checkpoint"
        )
        whole = Search(space, judges, lambda name: record or MemoryRecord(), "law")  # type: ignore[arg-type, return-value]
        return find(whole, self.trainer)


@pytest.fixture
def school(pack: Pack, tmp_path: Path, quietly: Callable[[str], None]) -> School:
    quietly("optuna")
    return School(pack, tmp_path)


def test_the_pack_changes_nothing_but_the_time(school: School) -> None:
    runs = [school.search(CONFIG.model_copy(update={"pack": places})) for places in (1, 2, 4)]
    for found, entries in runs[1:]:
        assert facts(entries) == facts(runs[0][1])
        assert found.settings == runs[0][0].settings
    assert school.pack.names == []
    assert {entry.state for entry in runs[0][1]} == {"complete", "pruned"}
    assert not list(school.folder.glob("checkpoint-*")), "trials that have ended are kept as if they paused"


def test_a_search_that_is_killed_goes_on_where_its_trials_were(school: School) -> None:
    entries = school.search(CONFIG)[1]
    steps, record = school.notes.ticks, MemoryRecord()
    assert steps == sum(max(entry.losses) for entry in entries), "a check is a step here: none is taken twice"
    school.notes.ticks, school.notes.dies_at = 0, {3, 9, 15}
    school.folder /= "killed"
    for _ in range(3):
        with pytest.raises(KilledError):
            school.search(CONFIG, record)
    assert facts(school.search(CONFIG, record)[1]) == facts(entries)
    assert steps <= school.notes.ticks <= steps + 3 * CONFIG.pack, "a step of the pack is lost with each kill"


def test_a_course_pauses_at_its_check_and_is_not_taken_further_than_it_goes(school: School) -> None:
    train, validation = school.folds[0]
    whole = course_of(LEARNING, Settings(rank=2), train, validation, epochs=2, patience=9, seed=1)
    courses = [replace(whole, checks=3, until=until) for until in (1, 2, None)]

    def trained(one: Course, folder: str) -> tuple[Progress, int]:
        school.notes.ticks = 0
        outcome = fit(school.pack, [one], tokens_per_pass=512, listener=school.notes, checkpoint=school.folder / folder)
        return outcome["adapter"].progress, school.notes.ticks

    alone, _ = trained(courses[2], "alone")
    paused = [trained(one, "paused") for one in courses]
    assert [(progress.status, steps) for progress, steps in paused] == [("paused", 3), ("paused", 3), ("finished", 2)]
    assert len(paused[2][0].validation_losses) == 4
    assert paused[2][0].validation_losses == pytest.approx(alone.validation_losses, abs=1e-6)
    again, steps = trained(courses[0], "paused")
    assert (again.status, steps) == ("paused", 3), "it begins anew"


def test_every_trial_is_told_of_with_its_curve_and_its_rows(school: School) -> None:
    _, entries = school.search(CONFIG.model_copy(update={"repeats": 1}))
    told = {(one.label, one.entry.number): one for one in school.ended}
    assert {key for key in told if key[0] == "trial"} == {("trial", number) for number in range(5)}
    assert {label for label, _ in told} == {"trial", "final"}
    for entry in entries:
        outcome = told["trial", entry.number].outcome
        assert outcome is not None
        assert list(entry.losses.values()) == pytest.approx(outcome.progress.validation_losses[1:], abs=1e-4)
        if entry.state == "complete":
            targets = sum(row.targets for row in school.folds[0][1])
            assert sum(entry.members[0].rows) / targets == pytest.approx(entry.value, abs=1e-4)
    assert school.trainer.done == sum(o.outcome.course.steps for o in school.ended if o.outcome)


def test_folds_are_members_of_the_same_trial(school: School) -> None:
    some = [*school.folds[0][0], *school.folds[0][1]]
    school.folds = [(some[8:], some[:8]), (some[:8] + some[16:], some[8:16]), (some[:16], some[16:])]
    _, entries = school.search(CONFIG.model_copy(update={"folds": 3, "trials": 2}))
    for entry in entries:
        assert [len(member.rows) for _, member in sorted(entry.members.items())] == [8, 8, 8]
        counts = [sum(row.targets for row in validation) for _, validation in school.folds]
        losses = [entry.members[fold].loss or 0.0 for fold in range(3)]
        assert entry.value == pytest.approx(np.average(losses, weights=counts), abs=1e-4)


def test_memory_that_runs_out_for_one_trial_fails_it_alone(school: School, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Pack.add

    def add(self: Pack, name: str, *args: object, **kwargs: object) -> None:
        if name == "trial2":
            raise torch.OutOfMemoryError("no room")
        plain(self, name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Pack, "add", add)
    _, entries = school.search(CONFIG)
    assert [entry.state == "fail" for entry in entries] == [False, False, True, False, False]
    assert "trial2: no room; this one fails, the others go on" in school.notes.said
    assert school.pack.names == []


def test_a_damaged_checkpoint_is_no_failed_trial(school: School) -> None:
    from loramill.errors import TrainingError

    (school.folder / "checkpoint").mkdir()
    (school.folder / "checkpoint" / "progress.json").write_text("{")
    with pytest.raises(TrainingError, match="is damaged"):
        school.search(CONFIG)
