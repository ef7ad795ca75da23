import json
from pathlib import Path

import pytest

from loramill.config import SplitConfig
from loramill.data.ledger import PARTS
from loramill.errors import DataError
from loramill.records import Record, read_records, write_records
from loramill.reports import read_json
from tasks.split import split
from tests.factories import record
from tests.unit.helpers import stories

ROWS = stories(60)


def split_into(folder: Path, rows: list[Record], least: int = 1) -> dict[str, str]:
    write_records(folder / "records.jsonl", rows)
    config = SplitConfig(min_test_rows=least)
    out = split.fn(config, folder / "records.jsonl", folder / "splits", folder / "split.json")
    return {row.id: part for part in PARTS for row in read_records(out / f"{part}.jsonl")}


def near(row: Record, source: str = "new.csv:1") -> Record:
    return record(row.question + "吗", row.answer + "的", source)


def of_part(places: dict[str, str], part: str) -> Record:
    return next(row for row in ROWS if places[row.id] == part)


def refused(folder: Path) -> list[tuple[str, str]]:
    return [(row["source"], row["rule"]) for row in read_json(folder / "split.json")["refused"]]


def test_split_leaves_three_files_a_ledger_and_a_report(tmp_path: Path) -> None:
    places = split_into(tmp_path, ROWS)
    ledger = read_json(tmp_path / "splits/ledger.json")
    assert ledger["places"] == places
    assert set(ledger["prints"]) == {id for id, part in places.items() if part == "test"}
    report = read_json(tmp_path / "split.json")
    assert sum(report["rows"].values()) == report["new"] == 60
    assert report["refused"] == []


def test_split_remembers_rows_that_were_away(tmp_path: Path) -> None:
    first = split_into(tmp_path, ROWS)
    split_into(tmp_path, ROWS[:45])
    assert set(read_json(tmp_path / "splits/ledger.json")["places"]) == set(first)
    assert split_into(tmp_path, ROWS) == first
    assert read_json(tmp_path / "split.json")["new"] == 0


def test_split_finds_its_ledger_after_a_kill_between_two_renames(tmp_path: Path) -> None:
    """The ledger says otherwise than the rows' content would."""
    split_into(tmp_path, ROWS)
    ledger = {row.id: PARTS[index % 3] for index, row in enumerate(ROWS)}
    (tmp_path / "splits/ledger.json").write_text(json.dumps(ledger))
    (tmp_path / "splits").rename(tmp_path / ".splits.old")
    assert split_into(tmp_path, ROWS) == ledger


def test_a_row_like_a_test_row_is_refused_listed_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = split_into(tmp_path, ROWS)
    test = of_part(first, "test")
    assert split_into(tmp_path, [*ROWS, near(test)]) == first
    assert refused(tmp_path) == [("new.csv:1", "matches-test-row")]
    said = capsys.readouterr().err
    assert "1 refused (matches-test-row), each with its reason in " in said
    assert f"new.csv:1: its question is 96% the same as that of a test row ({test.source}), which only judges" in said


def test_the_test_row_is_known_again_long_after_it_was_taken_out(tmp_path: Path) -> None:
    test = of_part(split_into(tmp_path, ROWS), "test")
    without = [row for row in ROWS if row != test]
    second = split_into(tmp_path, without)
    split_into(tmp_path, without)
    assert split_into(tmp_path, [*without, near(test)]) == second
    assert refused(tmp_path) == [("new.csv:1", "matches-test-row")]


@pytest.mark.parametrize("part", PARTS)
def test_an_edited_row_keeps_the_place_of_its_first_version(tmp_path: Path, part: str) -> None:
    first = split_into(tmp_path, ROWS)
    old = of_part(first, part)
    second = split_into(tmp_path, [near(row) if row == old else row for row in ROWS])
    assert second[near(old).id] == part
    assert refused(tmp_path) == []
    assert split_into(tmp_path, [near(row) if row == old else row for row in ROWS]) == second


def test_a_lost_ledger_is_rebuilt_from_the_parts(tmp_path: Path) -> None:
    first = split_into(tmp_path, ROWS)
    (tmp_path / "splits/ledger.json").unlink()
    assert split_into(tmp_path, [*ROWS, near(of_part(first, "test"))]) == first
    assert refused(tmp_path) == [("new.csv:1", "matches-test-row")]
    assert set(read_json(tmp_path / "splits/ledger.json")["places"]) == set(first)


def test_a_damaged_ledger_stops_the_step_and_leaves_everything(tmp_path: Path) -> None:
    split_into(tmp_path, ROWS)
    (tmp_path / "splits/ledger.json").write_text("{")
    with pytest.raises(DataError, match="is not a ledger of splits"):
        split_into(tmp_path, ROWS)
    assert (tmp_path / "splits/ledger.json").read_text() == "{"


def test_too_few_test_rows_stop_the_step_after_its_report(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"60 rows leave \d+ for test, too few to decide anything: \d+ missing of 60"):
        split_into(tmp_path, ROWS, least=60)
    assert sum(read_json(tmp_path / "split.json")["rows"].values()) == 60
    assert "Nothing was learnt: there are not enough rows" in (tmp_path / "data.html").read_text(encoding="utf-8")
    assert not (tmp_path / "splits").exists()
