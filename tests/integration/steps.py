"""Single steps run as DVC runs them, in a folder of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from loramill.records import write_records
from tests.copies import hear_ctrl_c
from tests.factories import records

SETTINGS = {"rank": 4, "alpha_ratio": 2.0, "learning_rate": 5.0e-3}


@pytest.fixture
def project(tmp_path: Path, root: Path, tiny_folder: Path) -> Path:
    """A folder with splits, settings and a plan on the tiny base; the steps run in it as DVC runs them."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    plan = {
        "base": str(tiny_folder),
        "search": {"trials": 4, "pack": 2, "epochs": 6, "rank": [4], "alpha_ratio": [1.0, 2.0]},
        "train": {"epochs": 24, "patience": 24, "save_steps": 3},
    }
    (tmp_path / "conf/law.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    rows = records(60)
    for part, some in (("train", rows[:40]), ("validation", rows[40:50]), ("test", rows[50:])):
        write_records(tmp_path / f"splits/{part}.jsonl", some)
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(SETTINGS), encoding="utf-8")
    return tmp_path


def start(project: Path, root: Path, step: str, out: str) -> "subprocess.Popen[bytes]":
    extra = ["settings=settings.yaml"] if step == "train" else []
    command = [sys.executable, "-m", f"tasks.{step}", "conf/law.yaml", "splits=splits", *extra]
    paths = [f"out={out}", f"report={Path(out).parent}/reports/{step}.json"]
    store = f"sqlite:///{project}/{Path(out).parent.name}.db"
    environment = os.environ | {"PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": store}
    with (project / "said.log").open("wb") as said:
        return subprocess.Popen([*command, *paths], cwd=project, env=environment, stderr=said, preexec_fn=hear_ctrl_c)


def run(project: Path, root: Path, step: str, out: str) -> str:
    process = start(project, root, step, out)
    code = process.wait(120)
    said = (project / "said.log").read_text(encoding="utf-8")
    assert code == 0, said
    return said
