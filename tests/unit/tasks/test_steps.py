"""The six steps as plain functions on the tiny base; one search and one training are shared by many tests."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loramill.config import (
    Base,
    EvaluateConfig,
    LearningConfig,
    LearningRates,
    SearchConfig,
    TrainConfig,
    ValidationConfig,
    read_settings,
)
from loramill.errors import AdapterError, DataError
from loramill.pack.manifest import read_manifest
from loramill.records import Record, read_records, write_records
from loramill.reports import read_json, write_text
from loramill.tracking import Version
from tasks.asking import ask
from tasks.evaluate import evaluate
from tasks.promote import promote
from tasks.search import search
from tasks.split import split
from tasks.stage import sections
from tasks.train import train
from tasks.validate import validate
from tests.factories import records
from tests.unit.helpers import stories

LEARNING = LearningConfig(batch=8)
TRAIN = TrainConfig(epochs=1, save_steps=100)
SEARCH = SearchConfig(
    trials=2, pack=2, epochs=1, rank=(2,), alpha_ratio=(1.0, 2.0), learning_rate=LearningRates(low=1e-3, high=1e-2)
)
ROWS = records(40)


@dataclass
class House:
    """The files of one domain."""

    root: Path
    base: Base

    def split(self, train: list[Record]) -> None:
        for part, rows in (("train", train), ("validation", ROWS[30:34]), ("test", ROWS[34:])):
            write_records(self.root / f"splits/{part}.jsonl", rows)

    def report(self, step: str) -> Any:
        return read_json(self.root / f"reports/{step}.json")

    def search(self, config: SearchConfig = SEARCH) -> Path:
        places = {"out": self.root / "settings.yaml", "report": self.root / "reports/search.json"}
        return search.fn(config, LEARNING, self.base, self.root / "splits", **places)

    def train(self, config: TrainConfig = TRAIN, learning: LearningConfig = LEARNING) -> str:
        """Train; return the adapter's digest."""
        places = {"out": self.root / "adapter", "report": self.root / "reports/train.json"}
        out = train.fn(config, learning, self.base, self.root / "splits", self.root / "settings.yaml", **places)
        assert out == self.root / "adapter"
        return read_manifest(out).digest

    def evaluate(self) -> Path:
        places = {"out": self.root / "scores.json", "report": self.root / "reports/evaluate.json"}
        config = EvaluateConfig(answers=1, max_new_tokens=3)
        return evaluate.fn(config, self.base, self.root / "splits", self.root / "adapter", **places)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, quietly: Callable[[str], None]) -> House:
    """Searched and trained once."""
    for name in ("matplotlib", "optuna"):
        quietly(name)
    house = House(tmp_path_factory.mktemp("house"), Base(source=str(tiny_folder), device="cpu"))
    house.split(ROWS[:30])
    house.search()
    house.train()
    return house


@pytest.fixture
def house(built: House, tmp_path: Path) -> House:
    """A copy to change."""
    shutil.copytree(built.root, tmp_path / "law")
    return House(tmp_path / "law", built.base)


# validate


def rows_file(folder: Path, rows: list[Record]) -> Path:
    lines = [json.dumps({"instruction": row.question, "output": row.answer}) for row in rows]
    write_text(folder / "rows.jsonl", "\n".join(lines))
    return folder


@pytest.mark.usefixtures("plain_judge")
def test_validate_keeps_good_rows_and_lists_the_others(tmp_path: Path) -> None:
    data = rows_file(tmp_path / "data", stories(20))
    (data / "bad.txt").write_text("用户：问题呢\n律师：短\n\n没有角色\n", encoding="utf-8")
    out = validate.fn(ValidationConfig(), data, tmp_path / "records.jsonl", tmp_path / "reports/validate.json")
    assert [row.id for row in read_records(out)] == [row.id for row in stories(20)]
    report = read_json(tmp_path / "reports/validate.json")
    assert (report["read"], report["kept"]) == (22, 20)
    assert [row["source"] for row in report["dropped"]] == ["bad.txt:4", "bad.txt:1"]
    assert sum(report["reasons"].values()) == 2
    assert sum(item["rows"] for item in report["expectations"]) == 1


@pytest.mark.usefixtures("plain_judge")
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            ValidationConfig(min_rows=21),
            r"20 usable rows of 24, validation\.min_rows asks for 21; .*validate\.json names",
        ),
        (
            ValidationConfig(max_dropped=0.1),
            r"4 of 24 rows were dropped, more than validation\.max_dropped allows \(10%\)",
        ),
    ],
)
def test_validate_stops_and_lists_the_rows_all_the_same(tmp_path: Path, config: ValidationConfig, message: str) -> None:
    data = rows_file(tmp_path / "data", stories(20))
    (data / "bad.txt").write_text("一\n二\n三\n四\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        validate.fn(config, data, tmp_path / "records.jsonl", tmp_path / "validate.json")
    assert len(read_json(tmp_path / "validate.json")["dropped"]) == 4
    assert not (tmp_path / "records.jsonl").exists()


# search


def test_search_leaves_settings_and_tells_every_trial(built: House) -> None:
    chosen, report = read_settings(built.root / "settings.yaml"), built.report("search")
    assert report["searched"]
    assert report["settings"] == chosen.model_dump(exclude_none=True)
    assert [trial["trial"] for trial in report["trials"]] == [0, 1]
    assert report["said"] == "rank was not searched: taking 2"
    assert report["loss_corrected"] >= report["loss"] >= min(trial["loss"] for trial in report["trials"]) - 1e-4
    pictures = {path.name for path in (built.root / "reports").glob("search-*.png") if path.stat().st_size > 1000}
    assert {"search-noise.png", "search-history.png"} <= pictures
    assert (built.root / "settings.yaml").read_text().startswith("# trial ")


def test_settings_stay_while_few_rows_are_new(house: House) -> None:
    before = (house.root / "settings.yaml").read_text()
    house.split(ROWS[:28] + stories(5))
    house.search()
    assert house.report("search")["why"] == "5 of 33 training rows are new (search.renew_above is 20%)"
    assert (house.root / "settings.yaml").read_text() == before


@pytest.mark.parametrize("change", ["rows", "settings", "lost"])
def test_settings_are_searched_again_when_much_changed(house: House, change: str) -> None:
    config = SEARCH
    if change == "rows":
        house.split(ROWS[:20] + stories(10))
    elif change == "settings":
        config = SEARCH.model_copy(update={"seed": 8})
    else:
        (house.root / "settings.yaml").unlink()
    house.search(config)
    assert house.report("search")["searched"]
    assert (house.root / "settings.yaml").is_file()


def test_no_trials_take_the_fixed_settings(house: House) -> None:
    house.search(SearchConfig(trials=0))
    assert read_settings(house.root / "settings.yaml") == SearchConfig().fixed
    assert house.report("search")["why"] == "search.trials is 0"


# train


def test_train_leaves_an_adapter_with_its_passport(built: House) -> None:
    manifest, report = read_manifest(built.root / "adapter"), built.report("train")
    assert manifest.rows == sorted(row.id for row in ROWS[:30])
    assert manifest.started_from is report["started_from"] is None
    assert manifest.shape["rank"] == read_settings(built.root / "settings.yaml").rank
    assert report["adapter"] == manifest.digest
    assert (report["status"], report["steps"]) == ("finished", 4)
    assert report["validation_loss"] == manifest.validation_loss <= report["validation_loss_before"]
    assert (built.root / "reports/train.png").stat().st_size > 1000


def test_training_twice_keeps_the_adapter(house: House) -> None:
    before = {path.name: path.read_bytes() for path in (house.root / "adapter").iterdir()}
    (house.root / "reports/train.json").unlink()
    house.train()
    assert {path.name: path.read_bytes() for path in (house.root / "adapter").iterdir()} == before
    assert house.report("train")["status"] == "kept"


def test_new_rows_start_from_the_last_adapter(house: House) -> None:
    before = read_manifest(house.root / "adapter").digest
    house.split(ROWS[:30] + stories(5))
    after = house.train()
    assert house.report("train")["started_from"] == before != after
    assert house.train() == after  # and are learnt once


@pytest.mark.parametrize("change", ["train", "learning", "settings", "scratch", "damaged"])
def test_changed_settings_start_from_scratch(house: House, change: str) -> None:
    before = read_manifest(house.root / "adapter").digest
    config, learning = TRAIN, LEARNING
    if change == "train":
        config = TRAIN.model_copy(update={"seed": 8})
    elif change == "learning":
        learning = LEARNING.model_copy(update={"batch": 4})
    elif change == "settings":
        write_text(house.root / "settings.yaml", "rank: 3\nalpha_ratio: 1.0\nlearning_rate: 1.0e-3\n")
    elif change == "scratch":
        house.split(ROWS[:29])
        config = TRAIN.model_copy(update={"start_from": "scratch"})
    else:
        weights = house.root / "adapter/adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes() + b" ")
    after = house.train(config, learning)
    assert house.report("train")["started_from"] is None
    assert (after == before) == (change == "damaged")  # the same rows and settings make the same adapter


def test_training_starts_from_a_named_adapter(house: House, tmp_path: Path) -> None:
    named = shutil.copytree(house.root / "adapter", tmp_path / "named")
    shutil.rmtree(house.root / "adapter")
    house.train(TRAIN.model_copy(update={"start_from": str(named)}))
    assert house.report("train")["started_from"] == read_manifest(named).digest


def test_a_named_adapter_that_is_none_is_refused(house: House, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match=r"is no adapter folder: it lacks adapter_model\.safetensors"):
        house.train(TRAIN.model_copy(update={"start_from": str(tmp_path)}))


def test_a_test_row_that_is_too_long_stops_the_run_before_it_is_trained(house: House) -> None:
    """Found in the evaluation, it would cost the whole training."""
    long = stories(1)[0]
    write_records(
        house.root / "splits/test.jsonl", [*ROWS[34:], Record((*long.messages, *ROWS[0].messages * 20), "t:1")]
    )
    with pytest.raises(DataError, match=r"t:1: .*nothing is cut"):
        house.train(TRAIN.model_copy(update={"seed": 9}))


# evaluate


def test_evaluate_compares_with_the_base_and_tells_each_row(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.evaluate.find", lambda domain, alias: None)
    content, report = read_json(house.evaluate()), house.report("evaluate")
    assert content["rows"] == report["rows"] == 6
    assert set(content["verdicts"]) == {"base"}
    assert content["champion"] is None
    for name in ("base", "challenger"):
        rows = [row[name] for row in content["per_row"]]
        assert content["loss"][name] == pytest.approx(sum(rows) / 6)
    gain = content["loss"]["base"] - content["loss"]["challenger"]
    assert content["verdicts"]["base"]["gain"] == pytest.approx(gain)
    (answered,) = content["answers"]
    assert answered["question"] in [row.question for row in ROWS[34:]]


def test_personal_data_that_a_model_says_is_counted_and_never_written(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    phone = "13912345678"

    def reciting(*arguments: Any) -> Any:
        answers = ask(*arguments)
        mine = answers["challenger"]
        said = [replace(each, text=f"请拨打{phone}。{each.text}") for each in mine.test]
        return answers | {"challenger": replace(mine, test=said)}

    monkeypatch.setattr("tasks.evaluate.find", lambda domain, alias: None)
    monkeypatch.setattr("tasks.evaluate.ask", reciting)
    told = house.evaluate().read_text(encoding="utf-8")
    content = json.loads(told)
    assert phone not in told
    assert content["answers"][0]["challenger"].startswith("请拨打〔电话1〕。")
    assert len(content["recitation"]["challenger"]["personal"]) == 1


def test_evaluate_compares_with_the_champion_too(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    champion = shutil.copytree(house.root / "adapter", house.root / "champion")
    digest = read_manifest(champion).digest
    house.train(TRAIN.model_copy(update={"seed": 8}))
    monkeypatch.setattr("tasks.evaluate.find", lambda domain, alias: Version(domain, "1", digest, champion, ""))
    content = read_json(house.evaluate())
    assert set(content["verdicts"]) == {"base", "champion"}
    assert content["champion"] == digest != content["challenger"]


def test_a_champion_is_not_compared_with_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = read_manifest(house.root / "adapter").digest
    monkeypatch.setattr(
        "tasks.evaluate.find", lambda domain, alias: Version(domain, "1", digest, house.root / "adapter", "")
    )
    assert set(read_json(house.evaluate())["verdicts"]) == {"base"}


# stage


def test_every_step_finds_its_sections_by_their_type() -> None:
    from loramill.config import Plan

    plan = Plan()
    asked = {task.name: list(sections(task.fn, plan)) for task in (validate, split, search, train, evaluate, promote)}
    assert asked == {
        "validate": ["config"],
        "split": ["config"],
        "search": ["config", "learning", "base"],
        "train": ["config", "learning", "base"],
        "evaluate": ["config", "base"],
        "promote": ["config"],
    }
    assert sections(train.fn, plan)["config"] is plan.train
