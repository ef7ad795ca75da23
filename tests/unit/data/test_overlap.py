import json
from pathlib import Path

from loramill.config import ValidationConfig
from loramill.data.contract import check_rows
from loramill.data.expectations import judge_plainly
from loramill.data.read import read_folder
from loramill.data.spool import Spool


def rows(first: int, last: int) -> list[dict[str, str]]:
    return [
        {
            "instruction": f"订单号尾数{n}的包裹什么时候到？",
            "output": f"您好，尾数{n}的包裹预计{n}天内送达，请留意短信。",
        }
        for n in range(first, last)
    ]


def write(folder: Path, name: str, content: list[dict[str, str]]) -> None:
    (folder / name).write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def test_an_evaluation_file_that_lies_in_the_training_file_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train.json", rows(0, 60))
    write(tmp_path, "eval.json", rows(10, 30))
    write(tmp_path, "other.json", rows(58, 90))
    config = ValidationConfig()
    with Spool() as spool:
        outcome = check_rows(read_folder(tmp_path, config), config, spool, judge_plainly)
    assert outcome.reasons["exact_duplicate"] == 22
    assert len(outcome.kept) == 90
    said = [warning for warning in outcome.warned if warning.rule == "file_overlap"]
    assert [warning.sources for warning in said] == [("eval.json:1", "train.json:1")]
    assert said[0].reason.startswith("20 of 20 rows of eval.json occur in train.json as well")


def test_an_evaluation_file_that_lies_in_the_training_file_with_another_mark_is_named(tmp_path: Path) -> None:
    write(tmp_path, "train.json", rows(0, 60))
    edited = [{**row, "output": row["output"].replace("您好，", "您好！")} for row in rows(10, 30)]
    write(tmp_path, "eval.json", edited)
    with Spool() as spool:
        outcome = check_rows(read_folder(tmp_path, ValidationConfig()), ValidationConfig(), spool, judge_plainly)
    assert len(outcome.kept) == 80
    assert [row.sources for row in outcome.warned if row.rule == "file_overlap"] == [("eval.json:1", "train.json:1")]
