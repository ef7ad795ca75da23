"""Watching shows everything and changes nothing."""

import json
import logging
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
import torch

from loramill import tracking
from loramill.config import Base, LearningConfig, TrainConfig
from loramill.pack.manifest import read_manifest
from loramill.pack.members import Pack
from loramill.pack.methods import Shape
from loramill.records import write_records
from loramill.reports import read_json, write_text
from loramill.tracking import Diary
from loramill.training.course import Course
from loramill.training.loop import Outcome, Silence, Tick, fit
from loramill.training.student import Progress
from tasks.probes import Probes, probe_records
from tasks.progress import TrainingBar
from tasks.train import train
from tasks.watching import UNTIL, Watch, curfew
from tests.factories import record, records, rows

ROWS = records(20)
SEEN = TrainConfig(epochs=2, probe_steps=1)
UNSEEN = TrainConfig(epochs=2, probes=0, probe_steps=0, tensorboard=False)


class Room:
    """One domain's files, ready to be trained on: 2 steps an epoch."""

    def __init__(self, root: Path, base: Path) -> None:
        self.root, self._base = root, Base(source=str(base), device="cpu")
        for part, some in (("train", ROWS[:14]), ("validation", ROWS[14:17]), ("test", ROWS[17:])):
            write_records(root / f"splits/{part}.jsonl", some)
        write_text(root / "settings.yaml", "rank: 2\nalpha_ratio: 2.0\nlearning_rate: 1.0e-2\n")

    def train(self, config: TrainConfig) -> str:
        """Train; return the adapter's digest."""
        places = {"out": self.root / "adapter", "report": self.root / "reports/train.json"}
        learning = LearningConfig(batch=8)
        train.fn(config, learning, self._base, self.root / "splits", self.root / "settings.yaml", **places)
        return read_manifest(self.root / "adapter").digest


@pytest.fixture
def room(tmp_path: Path, tiny_folder: Path, quietly: Callable[[str], None]) -> Room:
    quietly("matplotlib")
    return Room(tmp_path / "law", tiny_folder)


@contextmanager
def open_server(patch: pytest.MonkeyPatch) -> Iterator[Mock]:
    """MLflow with its real signatures, and a diary that is open in it; probes say little, to be quick."""
    from mlflow import MlflowClient

    client: Mock = create_autospec(MlflowClient, instance=True)
    patch.setattr(tracking.store, "client", lambda: client)
    patch.setattr("tasks.probes.PROBE_TOKENS", 3)
    token = tracking.runs._current.set(Diary("law", "0123456789abcdef"))
    yield client
    tracking.runs._current.reset(token)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, quietly: Callable[[str], None]) -> Iterator[Mock]:
    quietly("mlflow")
    with open_server(monkeypatch) as client:
        yield client


@dataclass
class Seen:
    """A training that was watched with everything there is."""

    room: Room
    digest: str
    server: Mock
    said: str


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, quietly: Callable[[str], None]) -> Seen:
    for name in ("mlflow", "matplotlib"):
        quietly(name)
    room, said = Room(tmp_path_factory.mktemp("law"), tiny_folder), StringIO()
    with pytest.MonkeyPatch.context() as patch, open_server(patch) as server:
        patch.setattr("sys.stderr", said)
        digest = room.train(SEEN)
    return Seen(room, digest, server, said.getvalue())


def written(server: Mock, name: str) -> list[tuple[int, float]]:
    """Every point of a curve that MLflow was given, in that order."""
    calls = server.log_batch.call_args_list
    return [(m.step, m.value) for call in calls for m in call.kwargs["metrics"] if m.key == name]


# the whole step


def test_watching_leaves_the_adapter_as_it_is(seen: Seen, room: Room) -> None:
    """Bit for bit: the digest is over the file of weights."""
    assert room.train(UNSEEN) == seen.digest
    assert {path.name for path in room.root.iterdir()} == {"adapter", "reports", "settings.yaml", "splits", "work"}
    assert {path.name for path in (room.root / "reports").iterdir()} == {"train.json", "train.png"}
    assert read_manifest(room.root / "adapter").training == read_manifest(seen.room.root / "adapter").training


def test_a_training_whose_time_is_up_ends_with_its_epoch_and_keeps_its_best(room: Room) -> None:
    with curfew(3600):
        room.train(UNSEEN)
    whole = read_json(room.root / "reports/train.json")
    shutil.rmtree(room.root / "adapter")
    with curfew(0.0):
        room.train(UNSEEN.model_copy(update={"epochs": 3}))
    cut = read_json(room.root / "reports/train.json")
    assert [(each["stopped_by_time"], len(each["curves"]["validation"])) for each in (whole, cut)] == [
        (False, 3),
        (True, 2),
    ]
    assert read_manifest(room.root / "adapter").recipe["is_cut"]
    assert UNTIL not in os.environ


def test_the_base_answers_first_and_mlflow_has_the_same_table(seen: Seen) -> None:
    answers = read_json(seen.room.root / "reports/probes.json")
    assert [(a["speaker"], a["step"], a["probe"]) for a in answers[:4]] == [
        ("base", 0, 1),
        ("base", 0, 2),
        ("adapter", 1, 1),
        ("adapter", 1, 2),
    ]
    assert {a["step"] for a in answers} == {0, 1, 2, 3, 4}
    asked = probe_records(ROWS[14:17], 2)
    assert {(a["question"], a["reference"]) for a in answers} == {(row.question, row.answer) for row in asked}
    calls = [call.args for call in seen.server.log_table.call_args_list]
    assert {(run, name) for run, _, name in calls} == {("0123456789abcdef", "probes.json")}
    assert [text for _, columns, _ in calls for text in columns["answer"]] == [a["answer"] for a in answers]
    assert [line in seen.said for line in ("probe 1, base: ", "probe 2, step 4: ")] == [True, True]


def test_mlflow_gets_each_point_once_and_while_it_runs(seen: Seen) -> None:
    assert [step for step, _ in written(seen.server, "train_loss")] == [0, 1, 2, 3]
    assert [step for step, _ in written(seen.server, "validation_loss")] == [0, 1, 2]
    assert [step for step, _ in written(seen.server, "tokens_per_second")] == [0, 1, 2, 3]
    calls = [call.kwargs["metrics"] for call in seen.server.log_batch.call_args_list]
    first = next(metrics for metrics in calls if metrics[0].key == "train_loss")
    assert len(first) == 1  # after the first step


def test_each_point_that_mlflow_does_not_take_waits_on_disk_once(
    room: Room, server: Mock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server.log_batch.side_effect = OSError("database is locked")
    room.train(UNSEEN)
    (box,) = (tmp_path / "mlruns/outbox").rglob("*.jsonl")
    entries = [json.loads(line) for line in box.read_text(encoding="utf-8").splitlines()]
    kept: dict[str, list[int]] = {}
    for _, method, arguments, _ in entries:
        if method == "curve":
            kept.setdefault(arguments[0], []).extend(int(step) for step in arguments[1])
    steps = {name: [0, 1, 2, 3] for name in ("train_loss", "learning_rate", "gradient_norm", "tokens_per_second")}
    assert kept == steps | {"validation_loss": [0, 1, 2]}


def test_tensorboard_shows_every_step_and_what_was_answered(seen: Seen) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (folder,) = (seen.room.root / "tensorboard").iterdir()
    assert folder.name.endswith("-01234567")
    events = EventAccumulator(str(folder)).Reload()
    steps = {name: [event.step for event in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert steps.pop("loss/validation") == [0, 2, 4]
    assert steps == {name: [1, 2, 3, 4] for name in ("loss/train", "learning_rate", "tokens_per_second")}
    losses = [value for _, value in written(seen.server, "train_loss")]
    assert [event.value for event in events.Scalars("loss/train")] == pytest.approx(losses)
    assert len(events.Tags()["tensors"]) == 2


def test_a_tracker_that_fails_loses_no_adapter(
    seen: Seen, room: Room, server: Mock, caplog: pytest.LogCaptureFixture
) -> None:
    for method in ("log_batch", "log_table", "log_param", "log_metric", "set_tag", "log_artifact"):
        getattr(server, method).side_effect = sqlite3.OperationalError("database is locked")
    with caplog.at_level(logging.WARNING, "loramill"):
        assert room.train(SEEN.model_copy(update={"tensorboard": False})) == seen.digest
    assert read_json(room.root / "reports/train.json")["adapter"] == seen.digest
    assert len(read_json(room.root / "reports/probes.json")) == 10
    assert "the diary missed an entry (curve): database is locked" in caplog.text
    tries = server.log_batch.call_count + server.log_table.call_count
    assert (
        tries == 1 + 5 + 1
    )  # once while it runs, as each may wait for a dead server; at the end every curve and the table


def test_what_fails_in_watching_is_said_once_and_left_out(
    seen: Seen, room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> str:
        raise torch.OutOfMemoryError("no room to speak")

    monkeypatch.setattr("loramill.pack.speak.answer", full)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert room.train(SEEN) == seen.digest
    said = capsys.readouterr().err
    assert said.count("probes left out from here: no room to speak") == 1
    assert said.count("TensorBoard left out from here: import of torch.utils.tensorboard halted") == 1


def test_tensorboard_is_imported_only_when_asked_for(watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    watch.begin(None)
    watch.on_tick(tick(1, 2.0))


# one watch


@pytest.fixture
def course(pack: Pack) -> Course:
    some = tuple(rows(pack.base, 10))
    return Course("adapter", Shape(2, 4), some[:8], some[8:], 1e-3, epochs=20, batch=4, seed=1)


@pytest.fixture
def watch(course: Course) -> Iterator[Watch]:
    with TrainingBar("train", course.steps) as bar:
        yield Watch(course, bar, None, 0)


def tick(step: int, loss: float, total: int = 40) -> Tick:
    return Tick(step, total, {"adapter": loss}, 100.0)


def test_a_warning_is_said_once_and_kept(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    watch.on_epoch("adapter", 0, 8.0)
    for step in range(1, 41):
        watch.on_tick(tick(step, 8.0 + 0.01 * (step % 2)))
        if step % 2 == 0:
            assert not watch.on_epoch("adapter", step // 2, 8.0)
    assert list(watch.warnings) == ["not learning"]
    assert watch.warnings["not learning"].startswith("after 12 of 40 steps")  # while it can still be stopped
    assert capsys.readouterr().err.count("warning, not learning: after 12 of 40") == 1


def test_a_continued_course_is_judged_at_its_end_and_noted_whole(watch: Watch, course: Course, server: Mock) -> None:
    """What it sees after a restart looks flat; the whole curve does not."""
    before = [8.0 - 0.2 * step for step in range(20)]
    for step in range(21, 41):
        watch.on_tick(tick(step, 4.0))
        if step % 2 == 0:
            watch.on_epoch("adapter", step // 2, 4.0)
    assert watch.warnings == {}
    progress = Progress(40, "finished", 1, 4.0, [*before, *[4.0] * 20], [1e-3] * 40, [8.0] + [4.0] * 20)
    watch.on_end(Outcome(course, progress, {}))
    assert watch.warnings == {}
    assert sorted(written(server, "train_loss")) == list(enumerate(progress.train_losses))
    assert sorted(step for step, _ in written(server, "validation_loss")) == list(range(21))


def test_a_loss_that_is_not_finite_is_no_point(watch: Watch) -> None:
    watch.on_tick(tick(1, 8.0))
    watch.on_tick(tick(1, float("nan")))
    assert watch._entries.points["train_loss"] == {0: 8.0}


def test_an_answer_by_heart_is_a_warning(
    pack: Pack, course: Course, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_heart = "".join(chr(0x4E00 + 7 * place) for place in range(40))
    learnt = [*records(3), record("又一个问题", by_heart)]
    monkeypatch.setattr(
        "loramill.pack.speak.answer", lambda pack, member, *_, **__: by_heart if member else "the base says this"
    )
    probes = Probes(pack, probe_records(ROWS[14:17], 1), learnt, tmp_path / "probes.json")
    with TrainingBar("train", 40) as bar:
        watch = Watch(course, bar, probes, 10)
        watch.begin(None)
        watch.on_tick(tick(10, 2.0))
    assert "at step 10 a probe's answer repeats a training row word for word" in watch.warnings["recitation"]


def test_the_same_rows_are_asked_when_others_join() -> None:
    asked = probe_records(ROWS[:10], 2)
    assert probe_records(list(reversed(ROWS[:10])), 2) == asked
    joined = probe_records(ROWS, 2)
    assert all(row in asked or row in ROWS[10:] for row in joined)


# the bar


def test_the_bar_counts_steps_and_knows_those_left() -> None:
    with TrainingBar("train", 40) as shown:
        shown.on_tick(tick(21, 4.0))  # continued after step 20
        assert (shown._bar.initial, shown._bar.n, shown._bar.total) == (20, 21, 40)
        shown.on_tick(tick(22, float("nan"), total=30))  # the longest member left
        assert (shown._bar.n, shown._bar.total) == (22, 30)
        shown.on_tick(tick(5, 4.0, total=30))  # and a fresh one came
        assert (shown._bar.n, shown._bar.total) == (23, 48)
        assert "loss 4.000, validation nan, 100 tokens/s" in str(shown._bar)


def test_a_pack_of_unequal_members_counts_the_longest(pack: Pack, course: Course) -> None:
    ticks: list[Tick] = []

    class Ears(Silence):
        def on_tick(self, tick: Tick) -> None:
            ticks.append(tick)

    courses = [replace(course, name="short", epochs=1), replace(course, name="long", epochs=3)]
    fit(pack, courses, tokens_per_pass=100_000, listener=Ears())
    assert [(tick.done, tick.total) for tick in ticks] == [(step, 6) for step in range(1, 7)]
    assert [sorted(tick.losses) for tick in ticks] == [["long", "short"]] * 2 + [["long"]] * 4
