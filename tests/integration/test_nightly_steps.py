"""A night's own steps on the tiny base: the decision, and several domains in one pack."""

import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from loramill.config import Base, EvaluateConfig, LearningConfig, NightlyConfig, Plan, SplitConfig, TrainConfig
from loramill.data.ledger import Ledger, write_ledger
from loramill.errors import AdapterError, TrackingError
from loramill.pack.manifest import read_manifest
from loramill.records import Record, write_records
from loramill.reports import read_json, write_json, write_text
from loramill.tracking import Version
from tasks.changes import changes
from tasks.retrain import Pupil, retrain
from tasks.train import train
from tests.factories import records
from tests.unit.helpers import stories

pytestmark = pytest.mark.filterwarnings("ignore")
ROWS = records(30)
VALIDATION, TEST = stories(4, start=500), stories(4, start=600)
PLAN = Plan(
    learning=LearningConfig(batch=8),
    train=TrainConfig(epochs=2, save_steps=2, probes=0, tensorboard=False),
    evaluate=EvaluateConfig(answers=0),
    nightly=NightlyConfig(replay=1.0),
)


@dataclass
class Domain:
    """The files of one domain."""

    name: str
    root: Path
    plan: Plan

    def rows(self, train: list[Record]) -> None:
        for part, some in (("train", train), ("validation", VALIDATION), ("test", TEST)):
            write_records(self.root / f"splits/{part}.jsonl", some)
        write_ledger(self.root / "splits", Ledger())
        write_text(self.root / "settings.yaml", "rank: 2\nalpha_ratio: 2.0\nlearning_rate: 0.01\n")

    @property
    def pupil(self) -> Pupil:
        places = {name: self.root / path for name, path in PLACES.items()}
        return Pupil(domain=self.name, plan=self.plan, run_id="", **places)

    def decide(self, plan: Plan | None = None) -> dict[str, Any]:
        before = {"adapter": self.root / "adapter", "promotion": self.root / "promote.json"}
        out = changes.fn(plan or self.plan, self.name, self.root / "splits", **before, out=self.root / "changes.json")
        return dict(read_json(out))

    @property
    def manifest(self) -> Any:
        return read_manifest(self.root / "adapter")


PLACES = {"splits": "splits", "settings": "settings.yaml", "out": "adapter", "report": "train.json"}


@pytest.fixture(scope="module")
def plan(tiny_folder: Path) -> Plan:
    return PLAN.model_copy(update={"base": Base(source=str(tiny_folder), device="cpu")})


@pytest.fixture
def law(tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """A domain with 16 rows that nobody has learnt."""
    made = Domain("law", tmp_path / "law", plan)
    made.rows(ROWS[:16])
    champion(monkeypatch, None)
    return made


def champion(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> None:
    """Let the registry name an adapter."""
    version = None if folder is None else Version("law", "3", read_manifest(folder).digest, folder, "")
    for module in ("tasks.changes", "tasks.retrain"):
        monkeypatch.setattr(f"{module}.find", lambda domain, alias: version if domain == "law" else None)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory, plan: Plan) -> Path:
    """An adapter that learnt the first 16 rows."""
    made = Domain("law", tmp_path_factory.mktemp("learnt"), plan)
    made.rows(ROWS[:16])
    with pytest.MonkeyPatch.context() as patch:
        champion(patch, None)
        assert retrain.fn([made.pupil], made.root / "work") == {}
    return made.root / "adapter"


@pytest.fixture
def served(law: Domain, learnt: Path, monkeypatch: pytest.MonkeyPatch) -> Domain:
    """The domain with that adapter as its champion."""
    champion(monkeypatch, Path(shutil.copytree(learnt, law.root / "champion")))
    return law


def test_two_domains_in_one_pack_get_the_adapters_that_each_would_have_alone(law: Domain) -> None:
    shop = Domain("shop", law.root.parent / "shop", law.plan)
    shop.rows(ROWS[10:30])
    assert retrain.fn([law.pupil, shop.pupil], law.root / "work") == {}
    for domain in (law, shop):
        alone = domain.root.parent / f"alone-{domain.name}"
        paths = {"out": alone / "adapter", "report": alone / "train.json"}
        train.fn(
            domain.plan.train,
            domain.plan.learning,
            domain.plan.base,
            domain.root / "splits",
            domain.root / "settings.yaml",
            **paths,
        )
        expected = read_manifest(alone / "adapter")
        assert domain.manifest.validation_loss == pytest.approx(expected.validation_loss, abs=1e-4)
        facts = ("rows", "rows_digest", "training", "shape", "started_from")
        assert all(getattr(domain.manifest, name) == getattr(expected, name) for name in facts)
    # `train` finds nothing left to do: flow and dvc repro share one memory
    train.fn(
        law.plan.train,
        law.plan.learning,
        law.plan.base,
        law.root / "splits",
        law.root / "settings.yaml",
        out=law.root / "adapter",
        report=law.root / "none.json",
    )
    assert read_json(law.root / "none.json")["status"] == "kept"


def test_new_rows_go_on_from_the_champion_and_compete_with_a_start_from_scratch(served: Domain) -> None:
    before = read_manifest(served.root / "champion")
    served.rows(ROWS[:20])
    assert retrain.fn([served.pupil], served.root / "work") == {}
    report = read_json(served.root / "train.json")
    assert {name: each["rows"] for name, each in report["candidates"].items()} == {"scratch": 20, "continued": 8}
    losses = {name: each["validation_loss"] for name, each in report["candidates"].items()}
    assert report["validation_loss"] == min(losses.values()) == losses[report["taken"]]
    assert served.manifest.rows == sorted(row.id for row in ROWS[:20])
    assert served.manifest.started_from == (before.digest if report["taken"] == "continued" else None)


@pytest.mark.parametrize("change", ["removed", "shape", "scratch"])
def test_some_champions_cannot_be_gone_on_from(served: Domain, change: str) -> None:
    served.rows(ROWS[1:20] if change == "removed" else ROWS[:20])
    if change == "shape":
        write_text(served.root / "settings.yaml", "rank: 3\nalpha_ratio: 2.0\nlearning_rate: 0.01\n")
    if change == "scratch":
        served.plan = served.plan.model_copy(update={"train": PLAN.train.model_copy(update={"start_from": "scratch"})})
    assert retrain.fn([served.pupil], served.root / "work") == {}
    assert list(read_json(served.root / "train.json")["candidates"]) == ["scratch"]
    assert served.manifest.started_from is None


def test_a_domain_whose_row_cannot_be_learnt_leaves_the_others_alone(law: Domain) -> None:
    shop = Domain("shop", law.root.parent / "shop", law.plan)
    long = stories(1)[0]
    shop.rows([*ROWS[:10], Record((*long.messages, *ROWS[0].messages * 40), "rows.txt:7")])
    failed = retrain.fn([shop.pupil, law.pupil], law.root / "work")
    assert list(failed) == ["shop"]
    assert "rows.txt:7" in str(failed["shop"])
    assert law.manifest.validation_loss is not None
    assert not (shop.root / "adapter").exists()


def test_when_its_time_is_up_a_domain_keeps_its_best_so_far(law: Domain) -> None:
    shop = Domain("shop", law.root.parent / "shop", law.plan)
    shop.rows(ROWS[:16])
    late = replace(law.pupil, until=time.monotonic())
    assert retrain.fn([late, shop.pupil], law.root / "work") == {}
    cut, whole = (read_json(domain.root / "train.json") for domain in (law, shop))
    assert (cut["stopped_by_time"], whole["stopped_by_time"]) == (True, False)
    assert (cut["candidates"]["scratch"]["epochs"], whole["candidates"]["scratch"]["epochs"]) == (1, 2)


class Killed(BaseException):
    """What a kill looks like from inside."""


def test_a_killed_training_goes_on_and_ends_with_the_same_adapter(law: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    from loramill.training import loop

    retrain.fn([law.pupil], law.root / "whole")
    expected = law.manifest.digest
    save, saved = loop.save_checkpoint, []

    def dies(folder: Path, students: list[Any]) -> None:
        save(folder, students)
        saved.append(folder)
        if len(saved) == 1:
            raise Killed

    monkeypatch.setattr(loop, "save_checkpoint", dies)
    with pytest.raises(Killed):
        retrain.fn([law.pupil], law.root / "killed")
    (law.root / "adapter").rename(law.root / "aside")
    said: list[str] = []
    monkeypatch.setattr("tasks.retrain._Curfew.on_note", lambda listener, text: said.append(text))
    retrain.fn([law.pupil], law.root / "killed")
    assert any(text.startswith("continues after step 2") for text in said), said
    assert law.manifest.digest == expected


# the decision


def test_without_a_champion_it_is_trained(law: Domain) -> None:
    assert (law.decide()["decision"], law.decide()["why"]) == ("retrain", "no champion")


def test_the_rows_of_the_champion_are_no_reason_and_new_ones_are(served: Domain) -> None:
    assert (served.decide()["decision"], served.decide()["why"]) == ("skip", "same")
    served.rows(ROWS[:17])
    told = served.decide()
    assert (told["decision"], told["why"], told["added"]) == ("retrain", "rows", [ROWS[16].id])
    assert told["reason"] == "1 added, 16 as before since version 3, the champion"
    few = served.plan.model_copy(update={"nightly": NightlyConfig(least_rows=2)})
    assert (served.decide(few)["decision"], served.decide(few)["why"]) == ("skip", "few")


@pytest.mark.parametrize(
    ("section", "value"),
    [("train", TrainConfig(epochs=3)), ("learning", LearningConfig(batch=4)), ("base", Base(source="owner/other"))],
)
def test_other_settings_or_another_base_are_a_reason(served: Domain, section: str, value: object) -> None:
    assert served.decide(served.plan.model_copy(update={section: value}))["why"] == "settings"


def test_a_champion_that_learnt_a_forgotten_row_has_to_go(served: Domain) -> None:
    forgotten = SplitConfig(forgotten=(ROWS[0].id,))
    served.rows(ROWS[1:16])
    plan = served.plan.model_copy(update={"split": forgotten, "nightly": NightlyConfig(least_rows=9)})
    assert (served.decide(plan)["decision"], served.decide(plan)["why"]) == ("retrain", "forgotten")


def test_a_champion_that_learnt_a_row_banned_by_hand_has_to_go_whatever_was_tried(
    served: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.rows(ROWS[1:16])
    served.plan = served.plan.model_copy(update={"split": SplitConfig(forgotten=(ROWS[0].id,))})
    assert retrain.fn([served.pupil], served.root / "work") == {}
    ruling = {"adapter": served.manifest.digest, "version": "4", "decision": "kept the champion"}
    write_json(served.root / "promote.json", ruling)
    assert served.decide()["why"] == "forgotten"
    monkeypatch.setattr("tasks.changes.find", lambda domain, alias: None)
    assert served.decide()["why"] == "tried"


def test_a_named_start_that_learnt_a_row_which_is_gone_is_refused(law: Domain, learnt: Path) -> None:
    law.rows(ROWS[1:20])
    named = law.plan.train.model_copy(update={"start_from": str(learnt)})
    files = (law.root / "splits", law.root / "settings.yaml")
    with pytest.raises(AdapterError, match=rf"learnt row {ROWS[0].id} \(1 such rows\), which is not among") as refused:
        train.fn(named, law.plan.learning, law.plan.base, *files, out=law.root / "adapter", report=law.root / "t.json")
    assert str(learnt) in str(refused.value)
    assert not (law.root / "adapter").exists()


def test_what_was_tried_is_not_tried_again_and_what_was_not_judged_is_judged(
    served: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    champion(monkeypatch, None)
    shutil.copytree(served.root / "champion", served.root / "adapter")
    assert served.decide()["decision"] == "judge"
    ruling = {"adapter": served.manifest.digest, "version": "4", "decision": "kept the champion"}
    write_json(served.root / "promote.json", ruling)
    told = served.decide()
    assert (told["decision"], told["why"]) == ("skip", "tried")
    assert told["reason"] == "exactly these rows were tried already (version 4, kept the champion)"


def test_a_registry_that_is_away_is_no_missing_champion(law: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(domain: str, alias: str) -> None:
        raise TrackingError("away")

    monkeypatch.setattr("tasks.changes.find", away)
    with pytest.raises(TrackingError, match="away"):
        law.decide()
