"""`loramill run law.yaml` with a flat file of an earlier tool, from its rows to the adapter where the file wants it."""

import csv
import json
import sqlite3
from pathlib import Path

import pytest
import yaml

from loramill.records import read_records
from tests.copies import Copy, digests, sample_rows

pytestmark = pytest.mark.timeout(600)  # whole commands, on machines that have other work too
KEYS = {
    "train_data_dir": "./data/llm_train",
    "metadata_path": "./data/llm_train/metadata.csv",
    "task_type": "text-generation",
    "output_dir": "./output/cs_lora",
    "lora_rank": 4,
    "lora_alpha": 8,
    "lora_dropout": 0.1,
    "target_modules": ["q_proj", "v_proj"],
    "batch_size": 16,
    "epochs": 2,
    "learning_rate": "5e-3",  # text to YAML, as in the files that people have
    "max_seq_length": 1024,
    "fp16": True,
    "device": "cpu",
    "save_steps": 50,
    "resume_from_checkpoint": None,
}


@pytest.fixture(scope="module")
def rows(root: Path, copy: Copy) -> dict[str, str]:
    """Question to answer: each answer in a file of its own, the questions in metadata.csv."""
    folder = copy.folder / "data/llm_train"
    folder.mkdir()
    pairs = sample_rows(root, 120)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "prompt"])
        for number, (question, answer) in enumerate(pairs.items()):
            (folder / f"{number:03}.txt").write_text(answer, encoding="utf-8")
            table.writerow([f"{number:03}.txt", question])
    return pairs


def flat(copy: Copy, **changes: object) -> str:
    """Leave a flat file that is named like a domain of conf/."""
    content = KEYS | {"base_model": copy.environment["TINY_BASE"]} | changes
    (copy.folder / "law.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return "law.yaml"


def test_a_flat_file_runs_to_its_end_and_touches_no_domain(copy: Copy, rows: dict[str, str]) -> None:
    before = digests(copy.folder / "artifacts/law") if (copy.folder / "artifacts/law").exists() else {}
    lock, versions = copy.folder / "dvc.lock", registered(copy, "law")
    remembered = lock.read_bytes() if lock.exists() else b""
    said = copy.run("loramill", "run", flat(copy))
    for key, value in KEYS.items():
        assert value is None or f"  {key}: {value} → " in said, said
    assert "adapter copied to output/cs_lora" in said
    own = copy.folder / "artifacts/flat-law"
    assert digests(copy.folder / "output/cs_lora") == digests(own / "adapter")
    config = json.loads((own / "adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"], config["target_modules"]) == (4, 8, ["q_proj", "v_proj"])
    read = {record.question: record.answer for record in read_records(own / "records.jsonl")}
    assert read == rows
    assert (digests(copy.folder / "artifacts/law") if before else {}) == before
    assert (lock.read_bytes() if remembered else b"") == remembered
    assert registered(copy, "flat-law") == 1
    assert registered(copy, "law") == versions


def registered(copy: Copy, name: str) -> int:
    """Count the registered versions of a model."""
    path = copy.folder / "mlruns/mlflow.db"
    if not path.exists():
        return 0
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as store:
        return int(store.execute("select count(*) from model_versions where name = ?", (name,)).fetchone()[0])


def test_an_unknown_key_is_refused_by_name_before_anything_is_done(copy: Copy, rows: dict[str, str]) -> None:
    said = copy.run("loramill", "run", flat(copy, lora_rnk=8), status=1)
    assert "error: law.yaml: 1 wrong" in said
    assert "lora_rnk: unknown key; known are train_data_dir, metadata_path, base_model, task_type" in said
    assert "Traceback" not in said
