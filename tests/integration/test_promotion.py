"""Champions in a real MLflow store: gates, persons, rollback, promotions at once, and an adapter that is made again."""

import errno
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loramill.approval import Person, approve, history, reject, rollback
from loramill.config import Base, LearningConfig, PromoteConfig, Settings, TrainConfig
from loramill.errors import AdapterError, BusyError, ConfigError, DataError, DiskFullError, TrackingError
from loramill.pack.manifest import Manifest, adapter_digest, read_manifest, write_manifest
from loramill.records import write_records
from loramill.reports import read_json, write_json, write_text
from loramill.trace import trail
from loramill.tracking import (
    Entry,
    champion_number,
    entries,
    fetch,
    find,
    move_champion,
    moves,
    open_diary,
    point,
    prepare_store,
    read_audit,
    register,
    reject_version,
    tag,
    take_down,
)
from loramill.tracking.store import answering
from tasks.promote import promote
from tasks.recipe import file_digests
from tasks.reproduce import TOLERANCE, distance_of, reproduce
from tasks.train import train
from tests.factories import records

ROWS = records(30)
PROMOTION = """
import sys
from loramill.tracking import move_champion, prepare_store
prepare_store()
print("ready", flush=True)
sys.stdin.readline()
won = move_champion("law", sys.argv[1], before=None, kind="promoted", by=sys.argv[1], reason="")
print("won" if won else "lost")
"""


pytestmark = pytest.mark.filterwarnings("ignore")  # MLflow and matplotlib warn while they are imported


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all of MLflow's tables and nothing in them: a fresh one costs seconds."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
        prepare_store()
    return path


@pytest.fixture
def place(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty store, in which commands run."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass
class Project:
    """A folder with splits, settings and a store."""

    root: Path
    base: Base

    def split(self, train: int) -> None:
        for part, rows in (("train", ROWS[:train]), ("validation", ROWS[20:26]), ("test", ROWS[26:])):
            write_records(self.place / f"splits/{part}.jsonl", rows)

    def train(self) -> str:
        """Train; return the adapter's digest."""
        places = {"out": self.place / "adapter", "report": self.place / "reports/train.json"}
        config = TrainConfig(epochs=2, probes=0, tensorboard=False)
        with open_diary("law", "train", {}):
            train.fn(config, LearningConfig(), self.base, self.place / "splits", self.place / "settings.yaml", **places)
        return read_manifest(self.place / "adapter").digest

    def promote(self, digest: str, champion: str | None = None) -> Any:
        verdicts = {"base": {"outcome": "better"}} | ({"champion": {"outcome": "better"}} if champion else {})
        ids = [{"id": record.id} for record in ROWS[26:]]
        scores = {
            "challenger": digest,
            "champion": champion,
            "loss": {"base": 2.0},
            "verdicts": verdicts,
            "per_row": ids,
        }
        write_json(self.place / "scores.json", scores)
        paths = [self.place / name for name in ("adapter", "scores.json", "reports/promote.json", "splits")]
        with open_diary("law", "promote", {}):
            return read_json(promote.fn(PromoteConfig(), *paths))

    @property
    def place(self) -> Path:
        return self.root / "artifacts/law"


@pytest.fixture
def project(place: Path, tiny_folder: Path) -> Project:
    found = Project(place, Base(source=str(tiny_folder), device="cpu"))
    found.split(16)
    settings = Settings(rank=2, epochs=None)
    write_text(found.place / "settings.yaml", settings.model_dump_json())
    return found


def test_an_adapter_goes_from_rows_to_champion_and_can_be_made_again(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = project.train()
    assert project.promote(first)["decision"] == "promoted"
    assert project.promote(first)["decision"] == "already champion"
    found = reproduce(first[:12])
    assert (found.outcome, found.digest, found.distance) == ("equal", first, 0.0)
    assert read_json(project.place / f"reproduced/{first[:12]}/reproduce.json")["outcome"] == "equal"

    then = shutil.copytree(project.place / "splits", project.root / "then")
    project.split(20)
    second = project.train()
    assert read_manifest(project.place / "adapter").started_from == first
    assert project.promote(second)["decision"] == "kept the champion"  # nobody compared it with the champion
    assert project.promote(second, champion="f" * 64)["decision"] == "not judged"
    assert project.promote(second, champion=first)["decision"] == "promoted"
    assert [move.version for move in moves("law")] == ["1", "2"]
    assert reproduce(second).outcome == "equal"  # from its ancestor, as it was made

    with pytest.raises(
        DataError, match=r"train rows of adapter .* are neither in artifacts/law/splits nor in DVC's cache"
    ):
        reproduce(first, project.root / "again")
    cache = {digest: then / f"{part}.jsonl" for part, digest in file_digests(then).items()}
    monkeypatch.setattr("tasks.reproduce.cached_file", cache.get)
    assert reproduce(first, project.root / "again").outcome == "equal"
    with pytest.raises(AdapterError, match="no registered adapter has a digest"):
        reproduce("0" * 64)


def test_equal_matrices_are_near_and_others_are_not() -> None:
    import torch

    one = {"a": torch.ones(2, 3), "b": torch.full((3, 2), 0.01)}
    near = {"a": one["a"] + 1e-4, "b": one["b"] * 1.001}
    far = {"a": one["a"], "b": one["b"] * 1.1}  # a small matrix counts as much as a large one
    assert distance_of(one, one) == 0.0
    assert distance_of(one, near) < TOLERANCE < distance_of(one, far)
    assert distance_of(one, {"a": one["a"]}) == float("inf")


def test_of_promotions_at_once_one_wins(place: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlruns/mlflow.db")
    _versions(6)
    processes = [_promotion(number, root) for number in ("1", "2")]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    said = [process.communicate(timeout=120)[0].strip() for process in _all_told(processes)]
    assert sorted(said) == ["lost", "won"]
    champion = champion_number("law")
    assert champion == ("1", "2")[said.index("won")]

    def promotion(number: str) -> bool:
        return move_champion("law", number, before=champion, kind="promoted", by=number, reason="")

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(promotion, ("3", "4", "5", "6")))
    assert sum(won) == 1
    assert champion_number("law") == "3456"[won.index(True)]
    assert len(moves("law")) == 2


def _versions(count: int) -> None:
    from loramill.tracking.store import client

    client().create_registered_model("law")
    for _ in range(count):
        client().create_model_version("law", "file:///nowhere")


def _promotion(number: str, root: Path) -> "subprocess.Popen[str]":
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-W", "ignore", "-c", PROMOTION, number], cwd=root, **pipes)


def _all_told(processes: "list[subprocess.Popen[str]]") -> "list[subprocess.Popen[str]]":
    """Let all begin before anyone is waited for."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return processes


def three(place: Path) -> list[Entry]:
    """Three versions, the first of them champion."""
    with open_diary("law", "promote", {"git_commit": "c0ffee"}):
        folders = [sealed_adapter(place / name, name) for name in "abc"]
        found = [register(each, digest=adapter_digest(each), facts={}, metrics={}) for each in folders]
    assert move_champion("law", "1", before=None, kind="promoted", by="gates", reason="better")
    return found


def sealed_adapter(place: Path, content: str) -> Path:
    """An adapter with a passport, as far as the registry looks at it."""
    place.mkdir()
    (place / "adapter_model.safetensors").write_text(content)
    (place / "adapter_config.json").write_text("{}")
    facts: dict[str, Any] = {
        "base": "b",
        "base_digest": "d",
        "template_digest": "t",
        "shape": {},
        "training": {"train": {"seed": 7}},
    }
    made = Manifest(
        digest=adapter_digest(place),
        domain="law",
        rows_digest="r",
        rows=["x"],
        started_from=None,
        validation_loss=1.0,
        **facts,
    )
    write_manifest(place, made)
    return place


ME = Person("王", "读过二十个答案")


def test_the_champion_moves_only_from_the_one_that_the_mover_knew(place: Path) -> None:
    three(place)
    assert not move_champion("law", "2", before=None, kind="promoted", by="gates", reason="")
    assert champion_number("law") == "1"
    assert move_champion("law", "2", before="1", kind="promoted", by="gates", reason="p" * 9000)
    assert not move_champion("law", "3", before="1", kind="promoted", by="gates", reason="")
    assert [(move.before, move.version) for move in moves("law")] == [(None, "1"), ("1", "2")]
    assert moves("nobody") == []


def test_a_person_approves_against_the_gates_and_rolls_back(place: Path) -> None:
    three(place)
    tag("law", "3", {"decision": "kept the champion", "gates_failed": "over champion, recitation"})
    said = approve("law", ME, "3", place)
    assert said.endswith("is champion of law, against the gates (over champion, recitation)")
    assert champion_number("law") == "3"
    assert "(adapter " in rollback("law", Person("Li", "rude"), None, place)
    assert champion_number("law") == "1"
    third = next(each for each in entries("law") if each.number == "3")
    assert third.barred == "a person rejected it: rolled back by Li: rude"
    lines = history("law", place)
    for words in (
        "version - → 1  promoted by gates: better",
        "version 1 → 3  approved by 王: 读过二十个答案",
        "version 3 → 1  rollback by Li: rude",
        "(against the gates: over champion, recitation)",
    ):
        assert any(words in line for line in lines)
    assert [line["action"] for line in read_audit(place / "law/audit.jsonl")] == ["approved", "rolled back"]
    with pytest.raises(AdapterError, match=r"no champion of 'law' before version 1 is known; .*`--to VERSION`"):
        rollback("law", ME, None, place)
    assert "version 2" in rollback("law", ME, "2", place)
    assert "(no judgement recorded)" in approve("law", ME, "1", place)


def test_a_rejected_challenger_stays_where_it_is(place: Path) -> None:
    versions = three(place)
    point("challenger", versions[1])
    assert "version 2 " in reject("law", ME, None, place)
    assert entries("law")[1].barred == "a person rejected it: 王: 读过二十个答案"
    with pytest.raises(AdapterError, match=r"version 1 of 'law' is the champion; .*`loramill rollback law`"):
        reject("law", ME, "1", place)
    with pytest.raises(AdapterError, match="is the champion already"):
        approve("law", ME, "1", place)
    with pytest.raises(AdapterError, match=r"'law' has no version '9'; `loramill history law`"):
        approve("law", ME, "9", place)
    with pytest.raises(ConfigError, match="--reason is empty"):
        approve("law", Person("Li", " "), "2", place)


def test_what_was_retired_or_changed_never_serves_again(place: Path) -> None:
    three(place)
    take_down("law", ["2"], "learnt row x")
    with pytest.raises(AdapterError, match=r"version 2 of 'law' was retired \(learnt row x\)"):
        approve("law", ME, "2", place)
    (fetch("law", "3").folder / "adapter_config.json").write_text("{ }")
    with pytest.raises(AdapterError, match="was changed after training"):
        rollback("law", ME, "3", place)
    assert champion_number("law") == "1"


def test_nobody_becomes_champion_who_was_barred_a_moment_ago(place: Path) -> None:
    three(place)
    take_down("law", ["2"], "learnt row x")
    tag("law", "3", {"rejected": "Li: rude"})
    facts = {"before": "1", "by": "gates", "reason": ""}
    for number, kind in (("2", "promoted"), ("2", "approved"), ("2", "rollback"), ("3", "promoted")):
        with pytest.raises(AdapterError, match=rf"version {number} of 'law' cannot become champion"):
            move_champion("law", number, kind=kind, **facts)  # type: ignore[arg-type]
    assert not reject_version("law", "1", "Li: rude")
    assert move_champion("law", "3", kind="approved", **facts)


def test_an_approval_against_a_newer_champion_says_so(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = three(place)
    for number in "23":
        tag("law", number, {"decision": "waits for approval", "gates_failed": "", "scored_against": versions[0].digest})
    assert "against the gates" not in approve("law", ME, "2", place)
    assert approve("law", ME, "3", place).endswith("against the gates (same champion)")
    with monkeypatch.context() as patch:
        patch.setattr("loramill.approval.move_champion", lambda *_, **__: False)
        with pytest.raises(BusyError, match="changed while you decided"):
            rollback("law", ME, None, place)
    assert not entries("law")[2].barred
    take_down("law", ["2"], "learnt row x")
    assert "version 1 " in rollback("law", ME, None, place)  # over the head of the retired one
    take_down("law", ["1"], "learnt row x")
    with pytest.raises(AdapterError, match=r"no champion.*`loramill approve law --version N --by NAME"):
        rollback("law", ME, None, place)


def test_files_that_are_gone_leave_an_adapter_out_and_are_not_asked_for_again(place: Path) -> None:
    champion = three(place)[0]
    tag("law", "1", {"scores": '{"loss": {"base": 2.0}}'})
    assert trail(champion.digest).told["scores"] == {"loss": {"base": 2.0}}
    shutil.rmtree(fetch("law", champion.number).folder)
    found = find("law", "champion")
    assert found is not None
    assert found.number == "1"
    with pytest.raises(AdapterError, match="is no adapter folder"):
        read_manifest(found.folder)
    assert fetch("law", "1").folder == found.folder


def test_a_mistake_in_the_code_is_not_the_registrys_silence() -> None:
    with pytest.raises(TypeError), answering("add"):
        _ = len(3)  # type: ignore[arg-type]
    with pytest.raises(DiskFullError), answering("write"):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(TrackingError, match="could not ask"), answering("ask"):
        raise ConnectionError("refused")


def test_a_digest_leads_back_to_all_that_it_rests_on(place: Path) -> None:
    versions = three(place)
    found = trail(versions[1].digest[:8])
    told = found.told
    assert (told["adapter"], told["version"], told["rows"]["count"]) == (versions[1].digest, "law 2", 1)
    assert told["run"] == versions[1].run_id != ""
    assert (told["commit"], told["data"]) == ("c0ffee", "not kept")
    assert told["configuration"]["train"] == {"seed": 7}
    for digest, message in (("ab", "is too short"), ("0" * 12, "no registered adapter has a digest")):
        with pytest.raises(AdapterError, match=message):
            trail(digest)
