"""Every real file that lies beside the project: each row is read, or refused for the right reason."""

from collections import Counter
from pathlib import Path

import pytest

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read import read_folder

FILES: dict[str, dict[str, int]] = {
    "cls_banking77/test.csv": {"no-question-or-answer": 3080},
    "cls_banking77/categories.json": {"not-an-object": 77},
    "cls_clinc150/data_small.json": {"not-an-object": 16200},
    "derived_labour_qa/labour_qa.jsonl": {"read": 280},
    "fmt_axolotl/alpaca.json": {"read": 2},
    "fmt_axolotl/conversation.json": {"read": 1},
    "fmt_axolotl/conversation.missingturns.json": {"read": 1},  # the contract refuses its empty turn
    "fmt_axolotl/conversation.tokenized_llama2chat.json": {"already-tokenized": 1},
    "fmt_llamafactory/1.jpg": {"unknown-format": 1},
    "fmt_llamafactory/alpaca_en_demo.json": {"read": 999},
    "fmt_llamafactory/alpaca_zh_demo.json": {"read": 1000},
    "fmt_llamafactory/c4_demo.jsonl": {"no-question-or-answer": 300},
    "fmt_llamafactory/dataset_info.json": {"no-question-or-answer": 104},
    "fmt_llamafactory/dpo_zh_demo.json": {"read": 300},
    "fmt_llamafactory/glaive_toolcall_en_demo.json": {"read": 300},
    "fmt_llamafactory/glaive_toolcall_zh_demo.json": {"read": 298, "roles-out-of-order": 2},
    "fmt_llamafactory/identity.json": {"read": 91},
    "fmt_llamafactory/kto_en_demo.json": {"read": 150, "rejected-answer": 150},
    "fmt_llamafactory/mllm_demo.json": {"has-media": 6},
    "fmt_llamafactory/reason_tool_use_demo_50.jsonl": {"read": 50},
    "fmt_llamafactory/v1_dpo_demo.jsonl": {"read": 10},
    "fmt_llamafactory/v1_sft_demo.jsonl": {"read": 500},
    "fmt_llamafactory/v1_sft_demo.yaml": {"unknown-format": 1},
    "fmt_llamafactory/wiki_demo.txt": {"unknown-role": 30},
    "legal_lawbench/1-1.json": {"read": 500},
    "legal_lawbench/1-2.json": {"read": 500},
    "legal_lawbench/2-2.json": {"read": 500},
    "legal_lawbench/2-4.json": {"read": 500},
    "legal_lawbench/3-2.json": {"read": 500},
    "legal_lawbench/3-6.json": {"read": 500},
    "legal_lawbench/3-8.json": {"read": 500},
    "legal_lawyer_llama/fakao_gpt4.json": {"read": 1000},
    "legal_lawyer_llama/judical_examination.json": {"read": 2000},
    "legal_lawyer_llama/legal_advice.json": {"read": 5000},
    "legal_lawyer_llama/legal_counsel_multi_turn_with_article_v2.json": {
        "read": 465,
        "roles-out-of-order": 10,
        "no-question-or-answer": 1,
    },
    "legal_lawyer_llama/legal_counsel_with_article_v2.json": {"read": 1000},
    "legal_lawyer_llama/zixun_gpt4.json": {"read": 1000},
    "med_toyhom_sample/sample_internal_medicine_5000-6000.gb18030.csv": {"read": 7644},
    "statutes_lawrefbook/劳动法(2018-12-29).md": {"unknown-format": 1},
}


@pytest.fixture(scope="module")
def outcomes(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """All rows by their file, all files in one folder."""
    folder = tmp_path_factory.mktemp("real")
    for name in FILES:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes((shared / name).read_bytes())
    found: dict[str, list[object]] = {}
    for row in read_folder(folder, ValidationConfig()):
        found.setdefault(row.source.rpartition(":")[0], []).append(row)
    return found


def test_every_row_of_every_real_file_is_read_or_refused_for_its_reason(outcomes: dict[str, list[object]]) -> None:
    counted = {
        name: dict(Counter(row.rule if isinstance(row, Refused) else "read" for row in rows))
        for name, rows in outcomes.items()
    }
    assert counted == FILES


def test_sources_are_the_lines_where_rows_start(outcomes: dict[str, list[object]], shared: Path) -> None:
    for name in ("legal_lawyer_llama/zixun_gpt4.json", "fmt_llamafactory/dpo_zh_demo.json"):
        lines = (shared / name).read_text(encoding="utf-8").split("\n")
        starts = [number for number, line in enumerate(lines, start=1) if line == "  {"]
        assert [int(row.source.rpartition(":")[2]) for row in outcomes[name]] == starts  # type: ignore[attr-defined]


def test_a_dialogue_set_is_read_from_its_map(shared: Path, tmp_path: Path) -> None:
    import zipfile

    zipfile.ZipFile(shared / "cs_crosswoz/val.json.zip").extractall(tmp_path)
    rows = list(read_folder(tmp_path, ValidationConfig()))
    assert len(rows) == 500
    assert not [row for row in rows if isinstance(row, Refused)]
