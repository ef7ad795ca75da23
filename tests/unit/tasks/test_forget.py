import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from typer.testing import CliRunner

from loramill.cli import app
from loramill.config import load_plan
from loramill.errors import AdapterError, DataError
from loramill.pages.forgotten import forgotten_page
from loramill.records import write_records
from tasks.forget import Found, Learner, ban, find_row, prove, retire
from tests.factories import record, records

ROWS = records(6)
ID = ROWS[2].id


@pytest.fixture
def house(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the plans of the repository and six rows of law."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "records.jsonl", ROWS)
    write_records(tmp_path / "splits/validation.jsonl", ROWS[2:3])
    monkeypatch.setattr("tasks.forget.entries", lambda domain: [])
    monkeypatch.setattr("tasks.forget.champion_number", lambda domain: None)
    return tmp_path


def test_a_row_is_found_with_its_part_and_with_those_that_say_nearly_the_same(house: Path) -> None:
    twin = record(ROWS[2].question + "吗", ROWS[2].answer)
    write_records(house / "records.jsonl", [*ROWS, twin])
    found = find_row.fn("law", ID, house / "records.jsonl", house / "splits")
    assert (found.record, found.part, found.learners) == (ROWS[2], "validation", ())
    assert twin.id in found.alike
    assert ID not in found.alike


def test_a_row_that_nobody_knows_is_refused(house: Path) -> None:
    with pytest.raises(DataError, match=r"law knows no row '0123456789abcdef'.*Ids stand in"):
        find_row.fn("law", "0123456789abcdef", house / "records.jsonl", house / "splits")


def test_the_ban_stands_in_the_plan_once_and_changes_nothing_else(house: Path) -> None:
    path = house / "conf/law.yaml"
    before = yaml.safe_load(path.read_text(encoding="utf-8"))
    comment = path.read_text(encoding="utf-8").splitlines()[0]
    assert ban.fn("law", ID)
    assert not ban.fn("law", ID)
    assert ban.fn("law", ROWS[0].id)
    assert load_plan(path).split.forgotten == (ID, ROWS[0].id)
    after = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {**after, "split": {}} == before
    assert path.read_text(encoding="utf-8").splitlines()[0] == comment


@pytest.mark.parametrize(
    "section",
    [
        "",
        "split: {} # as everywhere\n",
        "split:\n  test: 0.2 # lucky\n",
        "split:\n  # asked for\n  forgotten:\n    - 0123456789abcdef # by Li\n  test: 0.2\n",
    ],
)
def test_the_ban_keeps_the_comments_of_its_section_and_makes_the_section(house: Path, section: str) -> None:
    path = house / "conf/law.yaml"
    path.write_text(f"# law\nbase: embedded\n{section}# what follows\nsearch: {{}}", encoding="utf-8")
    was = load_plan(path)
    assert ban.fn("law", ID)
    text, plan = path.read_text(encoding="utf-8"), load_plan(path)
    assert plan.split == was.split.model_copy(update={"forgotten": (*was.split.forgotten, ID)})
    for comment in ("# law", "# as everywhere", "# lucky", "# asked for", "# by Li", "# what follows"):
        assert text.count(comment) == (comment in f"# law {section} # what follows"), text
    assert plan.model_copy(update={"split": was.split}) == was


def found(*learners: Learner) -> Found:
    return Found(ID, ROWS[2], "train", learners, ())


def test_every_adapter_that_learnt_it_is_retired_and_the_audit_says_who_asked(
    house: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[object] = []
    monkeypatch.setattr("tasks.forget.take_down", lambda *words: taken.append(words) or ["champion"])
    learner = Learner("3", "d" * 64, "2026-11-22 02:00", was_champion=True, folder=house)
    assert retire.fn("law", found(learner), "Wang", "consent withdrawn", house / "audit.jsonl") == ["3"]
    assert taken == [("law", ["3"], f"learnt row {ID}, which was forgotten: consent withdrawn")]
    line = (house / "audit.jsonl").read_text(encoding="utf-8")
    assert all(words in line for words in ("forgotten", ID, "Wang", "consent withdrawn"))


def test_an_adapter_that_learnt_it_all_the_same_proves_nothing(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SimpleNamespace(rows=[ID], started_from=None)
    monkeypatch.setattr("loramill.pack.manifest.read_manifest", lambda folder: made)
    plan, out = load_plan(house / "conf/law.yaml"), house / "sheet.html"
    with pytest.raises(AdapterError, match=f"has learnt row {ID} all the same"):
        prove.fn(plan, found(), house / "adapter", house / "none.json", ("", ""), out)
    made.rows, made.started_from = [], "d" * 64
    learner = Learner("3", "d" * 64, "2026-11-22 02:00", was_champion=False, folder=house)
    with pytest.raises(AdapterError, match=f"started from version 3, which learnt row {ID}, and carries it on"):
        prove.fn(plan, found(learner), house / "adapter", house / "none.json", ("", ""), out)
    assert not out.exists()


def test_the_sheet_says_who_knew_the_row_and_not_a_word_of_it() -> None:
    content = {
        "domain": "law",
        "row": ID,
        "part": "train",
        "by": "<b>Wang</b>",
        "reason": "consent withdrawn",
        "when": "2026-11-22T02:00:00+00:00",
        "adapters": [{"version": "3", "digest": "d" * 64, "made": "2026-11-20", "was_champion": True, "folder": "x"}],
        "replacement": {"digest": "e" * 64, "version": "4", "decision": "promoted", "started_from": None, "rows": 5},
        "loss": {"base": 7.5, "before": {"version 3": 5.25}, "after": 6.125},
        "alike": [ROWS[1].id],
        "unknown": ["f" * 64],
        "source": "file.txt:2",
    }
    page = forgotten_page(content)
    for words in (
        ID,
        "d" * 64,
        "e" * 64,
        "5.250",
        "6.125",
        "7.500",
        ROWS[1].id,
        "f" * 64,
        "file.txt:2",
        "retired",
        "永久停用",
    ):
        assert words in page, words
    assert "<b>Wang" not in page
    assert "in the data no more" in forgotten_page({**content, "loss": {}})


def test_the_command_runs_the_flow_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[str, ...]] = []
    monkeypatch.setattr("loramill.cli._module", lambda *words: ran.append(words) or 0)
    done = CliRunner().invoke(app, ["forget", "law", "--row", ID, "--by", "Wang"])
    assert done.exit_code == 0, done.output
    assert ran == [("flows.forget", "law", ID, "--by", "Wang", "--reason", "")]
