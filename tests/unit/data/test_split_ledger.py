import base64
import json
from pathlib import Path

import pytest

from loramill.data.fingerprints import fingerprints
from loramill.data.ledger import Ledger, prints_of, read_ledger, write_ledger
from loramill.errors import DataError
from loramill.records import write_records
from loramill.reports import read_json, write_json
from tests.unit.helpers import stories

ROWS = stories(4)


def stored(folder: Path) -> Ledger:
    folder.mkdir(exist_ok=True)
    ledger = Ledger({ROWS[0].id: "test", ROWS[1].id: "train"}, prints_of(ROWS[:1]))
    write_ledger(folder, ledger)
    return ledger


def same_prints(found: Ledger, expected: Ledger) -> bool:
    return found.prints.keys() == expected.prints.keys() and all(
        kept.question.tolist() == expected.prints[id].question.tolist()
        and kept.answer.tolist() == expected.prints[id].answer.tolist()
        for id, kept in found.prints.items()
    )


def test_a_ledger_is_read_as_it_was_written(tmp_path: Path) -> None:
    ledger, found = stored(tmp_path), read_ledger(tmp_path)
    assert found.places == ledger.places
    assert same_prints(found, ledger)


def test_a_ledger_holds_no_text(tmp_path: Path) -> None:
    stored(tmp_path)
    text = (tmp_path / "ledger.json").read_text(encoding="utf-8")
    assert text.isascii()
    assert base64.b64encode(fingerprints([ROWS[0].answer])[0].astype("<u4").tobytes()).decode() in text


def test_no_folder_is_an_empty_ledger(tmp_path: Path) -> None:
    assert read_ledger(tmp_path / "none") == Ledger()


def test_rows_that_left_since_the_last_split_get_a_fingerprint(tmp_path: Path) -> None:
    """So do test rows, whether they left or not; a train row that is still there needs none."""
    for part, row in zip(("train", "validation", "test"), ROWS, strict=False):
        write_records(tmp_path / f"{part}.jsonl", [row])
    write_records(tmp_path / "train.jsonl", [ROWS[0], ROWS[3]])
    write_json(tmp_path / "ledger.json", {"version": 2, "places": {}, "prints": {}})
    found = read_ledger(tmp_path, [ROWS[0], ROWS[2]])
    assert same_prints(found, Ledger(prints=prints_of([ROWS[1], ROWS[2], ROWS[3]])))
    assert found.last == {row.id for row in ROWS}


def test_without_its_file_the_ledger_is_what_the_parts_say(tmp_path: Path) -> None:
    for part, row in zip(("train", "validation", "test"), ROWS, strict=False):
        write_records(tmp_path / f"{part}.jsonl", [row])
    found = read_ledger(tmp_path, ROWS)
    assert found.places == {ROWS[0].id: "train", ROWS[1].id: "validation", ROWS[2].id: "test"}
    assert same_prints(found, Ledger(prints=prints_of([ROWS[2]])))


def test_the_first_ledgers_held_places_only(tmp_path: Path) -> None:
    write_json(tmp_path / "ledger.json", {ROWS[0].id: "test", ROWS[1].id: "train"})
    write_records(tmp_path / "test.jsonl", [ROWS[0]])
    found = read_ledger(tmp_path, ROWS)
    assert found.places == {ROWS[0].id: "test", ROWS[1].id: "train"}
    assert same_prints(found, Ledger(prints=prints_of([ROWS[0]])))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"version": 2}',
        '{"version": "two", "places": {}, "prints": {}}',
        '{"row": "exam"}',
        '{"version": 2, "places": {"a": "exam"}, "prints": {}}',
        '{"version": 2, "places": [], "prints": {}}',
        '{"version": 2, "places": {}, "prints": {"a": {"question": "AAAA"}}}',
        '{"version": 2, "places": {}, "prints": {"a": {"question": "", "answer": ""}}}',
        '{"version": 2, "places": {}, "prints": {"a": {"question": "*", "answer": "*"}}}',
        json.dumps(
            {"version": 2, "places": {}, "prints": {"a": dict.fromkeys(("question", "answer"), "AQAAAAAAAAA=")}}
        ),
        "\x00\xff",
    ],
)
def test_a_damaged_ledger_is_an_error_that_says_what_to_do(tmp_path: Path, content: str) -> None:
    (tmp_path / "ledger.json").write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match=r"ledger\.json' is not a ledger of splits .*dvc checkout .* or delete it"):
        read_ledger(tmp_path)


def test_a_newer_ledger_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "ledger.json", {"version": 3})
    with pytest.raises(DataError, match=r"has version 3, this loramill reads up to 2: update loramill"):
        read_ledger(tmp_path)


def test_the_file_says_its_version(tmp_path: Path) -> None:
    stored(tmp_path)
    assert read_json(tmp_path / "ledger.json")["version"] == 2
