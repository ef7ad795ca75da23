import signal
from pathlib import Path

import pytest
from prefect import task

from loramill.errors import ConfigError
from loramill.reports import stops_wait, write_json
from tasks.memory import Memory, _asked, _lay_aside_half_a_lock, was_not_judged


def test_a_domain_file_without_a_section_that_dvc_follows_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/shop.yaml").write_text("base: embedded\nsearch: {}\nvalidation: {}\n", encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text("vars:\n  - domains: [shop]\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"shop.yaml leaves out .*add .*\n  split: \{\}\n  learning: \{\}"):
        Memory("shop")


def test_ctrl_c_waits_until_dvc_has_written_its_lock() -> None:
    written = []

    def write() -> None:
        with stops_wait():
            signal.raise_signal(signal.SIGINT)
            written.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        write()
    assert written == ["all of it"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("decision", "is_void"), [("not judged", True), ("kept the champion", False)])
def test_scores_against_a_champion_that_was_replaced_since_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decision: str, is_void: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    assert not was_not_judged("law")
    write_json(Path("artifacts/law/reports/promote.json"), {"decision": decision})
    assert was_not_judged("law") is is_void


class Repo:
    """What is needed of DVC; it remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def status(self, targets: list[str]) -> dict[str, str]:
        return {} if targets == ["data.dvc"] else {"changed": "yes"}

    def commit(self, target: str, *, force: bool) -> None:
        self.told.append(target)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    """A domain that DVC remembers, with one row."""
    made = Repo()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tasks.memory.remembered_domains", lambda: ["law"])
    monkeypatch.setattr("tasks.memory._check_sections", lambda domain: None)
    monkeypatch.setattr("tasks.memory._open_repo", lambda: made)
    monkeypatch.setattr("tasks.memory.patient", lambda task: task.fn)
    for path in ("conf/default.yaml", "conf/law.yaml", "conf/shop.yaml", "conf/bases/b.yaml", "data/law/rows.txt"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("a: 1\n", encoding="utf-8")
    return made


@pytest.mark.parametrize(
    ("edited", "told"),
    [
        ("conf/law.yaml", []),
        ("conf/bases/b.yaml", []),
        ("conf/shop.yaml", ["validate@law"]),
        ("data/law/new.txt", []),
        ("", ["validate@law"]),
    ],
)
def test_a_step_during_which_something_was_edited_stays_stale(repo: Repo, edited: str, told: list[str]) -> None:
    memory = Memory("law")

    @task(name="validate")
    def validate(out: Path) -> Path:
        if edited:
            Path(edited).write_text("a: 2\n", encoding="utf-8")
        return out

    assert memory.step(validate)(out=Path("records.jsonl")) == Path("records.jsonl")
    assert repo.told == told


def test_half_a_list_of_claims_that_a_kill_left_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.repo import Repo as Dvc

    monkeypatch.chdir(tmp_path)
    repo = Dvc.init(no_scm=True)
    Path("dvc.yaml").write_text("stages: {see: {cmd: 'true', deps: [rows.txt]}}\n", encoding="utf-8")
    Path("rows.txt").write_text("a row\n", encoding="utf-8")
    for half in ("", '{"read": {"/rows'):
        Path(".dvc/tmp/rwlock").write_text(half, encoding="utf-8")
        assert "see" in _asked(lambda: repo.status(targets=["see"]))


@pytest.mark.parametrize(
    ("text", "is_laid_aside"),
    [
        ("", True),
        ("schema: '2.0'\nstages:\n  train@law:\n    cmd: 'pyth", True),
        ("schema: '2.0'\nstages: {}\n", False),
        ("<<<<<<< HEAD\nstages: {}\n=======\nstages: {a: 1}\n>>>>>>> theirs\n", False),
    ],
)
def test_half_a_lock_is_laid_aside_and_a_merge_is_left_to_a_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, is_laid_aside: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    _lay_aside_half_a_lock()
    Path("dvc.lock").write_text(text, encoding="utf-8")
    _lay_aside_half_a_lock()
    assert Path("dvc.lock.broken").is_file() is is_laid_aside
    assert Path("dvc.lock").is_file() is not is_laid_aside
