"""The step ``promote`` on a real adapter folder; the registry is played, the real one is in the integration lane."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from loramill.config import PromoteConfig
from loramill.errors import AdapterError, DataError
from loramill.pack.manifest import read_manifest
from loramill.records import write_records
from loramill.reports import digest_of_file, read_json, write_json
from loramill.tracking import Entry, read_audit
from tasks.promote import promote
from tests.factories import records
from tests.unit.conftest import MakeAdapter

TEST = records(3)


@dataclass
class Registry:
    """A registry of one domain, in memory."""

    aliases: list[str] = field(default_factory=list)
    champion: Entry | None = None
    tags: dict[str, str] = field(default_factory=dict)
    on_move: Callable[[], bool] = lambda: True
    stored: Any = None
    """The passport that was registered."""
    facts: dict[str, str] = field(default_factory=dict)
    """What was written beside it."""

    def entry_of(self, domain: str, alias: str) -> Entry | None:
        return self.champion

    def register(self, adapter: Path, digest: str, facts: dict[str, str], **_: object) -> Entry:
        self.stored, self.facts = read_manifest(adapter), facts
        return Entry("law", "3", digest, "", datetime.now(UTC))

    def entries(self, domain: str) -> list[Entry]:
        return [Entry("law", "3", "", "", datetime.now(UTC), self.tags)]

    def move_champion(self, domain: str, number: str, *, before: str | None, **_: object) -> bool:
        if moved := self.on_move():
            self.aliases.append("champion")
        return moved


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    played = Registry()
    for name in ("entry_of", "register", "entries", "move_champion"):
        monkeypatch.setattr(f"tasks.promote.{name}", getattr(played, name))
    monkeypatch.setattr("tasks.promote.point", lambda alias, version: played.aliases.append(alias))
    monkeypatch.setattr("tasks.promote.tag", lambda domain, number, facts: played.tags.update(facts))
    return played


@pytest.fixture
def promoted(make_adapter: MakeAdapter, tmp_path: Path) -> Callable[..., Any]:
    """Score an adapter as told and promote it; return the ruling."""
    adapter = make_adapter()
    digest = read_manifest(adapter).digest
    write_records(tmp_path / "splits/test.jsonl", TEST)

    def run(outcome: str = "better", splits: Path | None = tmp_path / "splits", **changes: Any) -> Any:
        scores: dict[str, Any] = {
            "challenger": digest,
            "champion": None,
            "loss": {"base": 2.0, "challenger": 1.0},
            "verdicts": {"base": {"outcome": outcome}},
            "per_row": [{"id": record.id} for record in TEST],
        }
        write_json(tmp_path / "scores.json", scores | changes)
        out = tmp_path / "reports/promote.json"
        return read_json(promote.fn(PromoteConfig(), adapter, tmp_path / "scores.json", out, splits))

    return run


@pytest.mark.parametrize(
    ("outcome", "decision", "moved"),
    [("better", "promoted", ["challenger", "champion"]), ("not proven", "no champion yet", ["challenger"])],
)
def test_promote_registers_always_and_moves_the_champion_on_proof(
    registry: Registry, promoted: Callable[..., Any], tmp_path: Path, outcome: str, decision: str, moved: list[str]
) -> None:
    ruling = promoted(outcome)
    assert (ruling["decision"], ruling["version"], ruling["champion_before"]) == (decision, "3", None)
    assert ruling["adapter"] == read_manifest(tmp_path / "adapter").digest
    assert registry.aliases == moved
    assert registry.tags["decision"] == decision
    line = read_audit(tmp_path / "audit.jsonl")[-1]
    assert (line["action"], line["by"], line["decision"], line["failed"]) == (
        "judged",
        "gates",
        decision,
        ruling["failed"],
    )


def test_each_gate_is_left_as_data(registry: Registry, promoted: Callable[..., Any]) -> None:
    gates = {gate["name"]: gate for gate in promoted("not proven")["gates"]}
    over = gates["over base"]
    assert (over["passed"], over["measured"], over["value"], over["limit"]) == (False, True, "not proven", "better")
    assert over["zh"] == "考题上与底座相比：结论是“未能证明”，要求是“更好”"
    assert over["en"] == "On the exam against the base model: “not proven”; asked for is “better”"
    assert gates["rules"]["passed"] is None


def test_the_registered_passport_knows_the_scores_and_the_trained_folder_stays_as_it_was(
    registry: Registry, promoted: Callable[..., Any], tmp_path: Path
) -> None:
    before = digest_of_file(tmp_path / "adapter/loramill.json")
    promoted()
    assert registry.stored.scores["digest"] == digest_of_file(tmp_path / "scores.json")
    assert registry.stored.scores["verdicts"] == {"base": "better"}
    assert digest_of_file(tmp_path / "adapter/loramill.json") == before


def test_an_adapter_that_was_changed_is_refused(
    registry: Registry, promoted: Callable[..., Any], tmp_path: Path
) -> None:
    config = tmp_path / "adapter/adapter_config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(AdapterError, match="was changed after training"):
        promoted()
    assert registry.aliases == []


@pytest.mark.parametrize("challenger", ["f" * 64, None])
def test_scores_of_another_adapter_are_refused(
    registry: Registry, promoted: Callable[..., Any], challenger: str | None
) -> None:
    with pytest.raises(DataError, match=r"holds the scores of adapter .*evaluate it first: `dvc repro --force .*@law`"):
        promoted(challenger=challenger)
    assert registry.aliases == []


def test_scores_of_other_test_rows_are_refused(
    registry: Registry, promoted: Callable[..., Any], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="is of other test rows than"):
        promoted(per_row=[{"id": record.id} for record in TEST[1:]])
    assert registry.aliases == []
    assert promoted(per_row=[], splits=None)["decision"] == "promoted"


def test_a_champion_that_came_meanwhile_is_not_overwritten(registry: Registry, promoted: Callable[..., Any]) -> None:
    registry.on_move = lambda: False
    ruling = promoted()
    assert ruling["decision"] == "not judged"
    assert "another promotion was quicker" in ruling["reasons"][-1]
    assert registry.aliases == ["challenger"]


def test_who_was_retired_while_it_was_judged_is_not_promoted(registry: Registry, promoted: Callable[..., Any]) -> None:
    def retired() -> bool:
        raise AdapterError("it was retired: learnt row x")

    registry.on_move = retired
    ruling = promoted()
    assert (ruling["decision"], ruling["failed"]) == ("no champion yet", ["allowed"])
    assert ruling["reasons"][-1] == "failed: it was retired: learnt row x"
    assert registry.aliases == ["challenger"]


def test_the_last_scores_stand_beside_the_version(registry: Registry, promoted: Callable[..., Any]) -> None:
    promoted(loss={"base": 9.0}, champion="c" * 64)
    assert json.loads(registry.facts["scores"])["loss"] == {"base": 9.0}
    assert registry.facts["scored_against"] == "c" * 64
    promoted()
    assert registry.facts["scored_against"] == ""


def test_scores_that_left_the_champion_out_do_not_beat_it(
    registry: Registry, promoted: Callable[..., Any], tmp_path: Path
) -> None:
    registry.champion = Entry("law", "2", "c" * 64, "", datetime.now(UTC))
    ruling = promoted()
    assert (ruling["decision"], ruling["failed"]) == ("kept the champion", ["over champion"])
    assert registry.aliases == ["challenger"]


@pytest.mark.parametrize("mark", ["rejected", "retired"])
def test_who_was_barred_stays_barred_however_good(registry: Registry, promoted: Callable[..., Any], mark: str) -> None:
    registry.tags[mark] = "Li: invents articles"
    ruling = promoted()
    assert ruling["decision"] == "no champion yet"
    assert "Li: invents articles" in ruling["reasons"][0]
    assert registry.aliases == ["challenger"]
