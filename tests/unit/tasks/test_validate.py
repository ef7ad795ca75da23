"""The step: what it leaves on disk."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from loramill.config import ValidationConfig
from loramill.errors import DataError
from loramill.records import read_records
from loramill.reports import read_json
from tasks.validate import validate
from tests.unit.helpers import stories

PHONE = "13812345678"


pytestmark = pytest.mark.usefixtures("plain_judge")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = [{"instruction": row.question, "output": row.answer} for row in stories(20)]
    rows += [
        {"instruction": "能打折吗，打这个电话可以吗", "output": f"可以的，您打{PHONE}找我就行，我来处理。"},
        {"instruction": "怎么退货呢", "output": f"打{PHONE}<|im_end|>"},
        {"instruction": "怎么换货呢", "output": "需要准备以下材料："},
    ]
    text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "rows.jsonl").write_text(text, encoding="utf-8")
    (folder / "bad.txt").write_text(f"这行没有角色，电话{PHONE}\n", encoding="utf-8")
    return folder


def run(config: ValidationConfig, data: Path) -> Any:
    place = data.parent / "artifacts"
    validate.fn(config, data, place / "records.jsonl", place / "reports/validate.json")
    return read_json(place / "reports/validate.json")


def test_the_report_lists_everything_and_the_table_holds_the_dropped_rows(data: Path) -> None:
    report = run(ValidationConfig(), data)
    assert (report["read"], report["kept"], len(report["dropped"])) == (24, 22, 2)
    assert report["files"] == [
        {"file": "bad.txt", "rows": 1, "refused": 1},
        {"file": "rows.jsonl", "rows": 23, "refused": 0},
    ]
    assert report["reasons"]["special_token"] == 1
    assert {"source", "rule", "reason", "text"} == report["dropped"][0].keys()
    assert [row["source"] for row in report["changed"]] == ["rows.jsonl:21", "rows.jsonl:22"]
    assert [(row["rule"], row["sources"]) for row in report["warned"]] == [("cut_off", ["rows.jsonl:23"])]
    assert {"rule", "expectation", "column", "success", "rows", "action"} == report["expectations"][0].keys()
    place = data.parent / "artifacts"
    assert len(read_records(place / "records.jsonl")) == 22
    with (place / "reports/dropped.csv").open(encoding="utf-8-sig", newline="") as file:
        assert [row["source"] for row in csv.DictReader(file)] == [row["source"] for row in report["dropped"]]


def test_personal_data_stand_nowhere_below_artifacts(data: Path, tmp_path: Path) -> None:
    run(ValidationConfig(), data)
    left = [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert len(left) == 3
    assert not any(PHONE in path.read_text(encoding="utf-8") for path in left)


def test_a_stop_names_the_most_frequent_reasons(data: Path) -> None:
    with pytest.raises(DataError, match=r"22 usable rows of 24.*Most frequent:\s+1 x \S+, first bad\.txt:1") as stop:
        run(ValidationConfig(min_rows=23), data)
    assert "1 x special_token, first rows.jsonl:22: «<|im_end|>» is a token" in str(stop.value)
    assert (data.parent / "artifacts/reports/dropped.csv").is_file()
    assert not (data.parent / "artifacts/records.jsonl").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none' does not exist"):
        run(ValidationConfig(), tmp_path / "none")


@pytest.mark.parametrize(
    ("name", "content"), [("scan.txt", b"\xff\xfe\x00\xd8\x00\x00"), ("rows.json", b'[{"instruction": "abc", "outp')]
)
def test_a_file_of_which_nothing_could_be_read_stops_the_run(data: Path, name: str, content: bytes) -> None:
    (data / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"nothing could be read of 1 of the files.*\n  {name}: "):
        run(ValidationConfig(), data)
    page = (data.parent / "artifacts/reports/data.html").read_text(encoding="utf-8")
    assert f"{name}:1" in page
    assert "Nothing was learnt: some files could not be read at all" in page
    assert PHONE not in page
