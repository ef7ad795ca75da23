"""Two processes, started by ``accelerate launch`` as on two cards, train what one trains."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import yaml
from safetensors.torch import load_file

from loramill.pack.manifest import read_manifest
from loramill.pack.members import Pack
from loramill.records import write_records
from loramill.training.loop import Outcome
from tests.factories import records, tiny_base
from tests.integration import worker

PAIR = "--multi_gpu"
SPLIT = "--use_fsdp"
MEMBERS = ("three", "one", "pruned", "later")


def launch(folder: Path, root: Path, kind: str, *words: str) -> "subprocess.Popen[bytes]":
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        kind,
        "--num_processes",
        "2",
        "--main_process_port",
        "0",
    ]
    environment = os.environ | {"PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    with (folder / "said.log").open("wb") as said:
        return subprocess.Popen([*command, "-m", *words], cwd=folder, env=environment, stdout=said, stderr=said)


def wait(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    code = process.wait(200)
    said = (folder / "said.log").read_text(encoding="utf-8")
    assert code == 0, said
    return said


@pytest.fixture(scope="module")
def alone(tiny_folder: Path) -> dict[str, Outcome]:
    """What one process ends with."""
    return worker.train(Pack(tiny_base(tiny_folder)))


@pytest.mark.parametrize(("kind", "modes", "share"), [(PAIR, ("plain", "memory"), "1.0"), (SPLIT, ("plain",), "0.5")])
def test_two_processes_end_where_one_ends_and_agree_bit_for_bit(
    tmp_path: Path,
    root: Path,
    tiny_folder: Path,
    alone: dict[str, Outcome],
    kind: str,
    modes: tuple[str, ...],
    share: str,
) -> None:
    """Also when one of them runs out of memory, and when each holds only its part of the base."""
    wait(launch(tmp_path, root, kind, "tests.integration.worker", str(tiny_folder), str(tmp_path), *modes), tmp_path)
    assert set(alone) == set(MEMBERS)
    for mode in modes:
        held = [(tmp_path / mode / f"held.{rank}.txt").read_text(encoding="utf-8") for rank in (0, 1)]
        assert held == [share, share]
        for name, outcome in alone.items():
            assert_equal(tmp_path / mode, name, outcome)


def assert_equal(out: Path, name: str, outcome: Outcome) -> None:
    """Both processes left the same bytes for a member, and these are what one process ended with."""
    files = [(out / f"{name}.{rank}.safetensors").read_bytes() for rank in (0, 1)]
    assert files[0] == files[1]
    weights = load_file(str(out / f"{name}.0.safetensors"))
    assert max((weights[key] - outcome.best[key]).abs().max().item() for key in weights) < 1e-4
    told = [json.loads((out / f"{name}.{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]
    assert told[0] == told[1]
    assert (told[0]["status"], told[0]["step"]) == (outcome.progress.status, outcome.progress.step)
    assert told[0]["train_losses"] == pytest.approx(outcome.progress.train_losses, abs=1e-4)
    assert told[0]["validation_losses"] == pytest.approx(outcome.progress.validation_losses, abs=1e-4)


@pytest.fixture
def project(tmp_path: Path, root: Path, tiny_folder: Path) -> Path:
    """A folder with splits, settings and a plan on the tiny base for two processes."""
    shutil.copytree(root / "conf", tmp_path / "conf")
    plan = {
        "base": {"source": str(tiny_folder), "device": "cpu", "processes": 2},
        "train": {"epochs": 8, "patience": 8, "save_steps": 3},
    }
    (tmp_path / "conf/law.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump({"rank": 4, "learning_rate": 5.0e-3}), encoding="utf-8")
    rows = records(60)
    for part, some in (("train", rows[:40]), ("validation", rows[40:50]), ("test", rows[50:])):
        write_records(tmp_path / f"splits/{part}.jsonl", some)
    return tmp_path


def start(project: Path, root: Path) -> "subprocess.Popen[bytes]":
    """Start the step as DVC does; it starts the two processes."""
    command = [sys.executable, "-m", "tasks.train", "conf/law.yaml", "splits=splits", "settings=settings.yaml"]
    environment = os.environ | {"PYTHONPATH": str(root), "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlflow.db"}
    with (project / "said.log").open("wb") as said:
        return subprocess.Popen(
            [*command, "out=law/adapter", "report=law/train.json"],
            cwd=project,
            env=environment,
            stdout=said,
            stderr=said,
        )


def process_of(rank: int, started: "subprocess.Popen[bytes]") -> psutil.Process:
    below = psutil.Process(started.pid).children(recursive=True)
    return next(process for process in below if process.environ().get("RANK") == str(rank))


def test_one_that_is_killed_ends_the_other_and_the_same_command_continues(project: Path, root: Path) -> None:
    killed = start(project, root)
    deadline = time.monotonic() + 120
    while not (project / "law/work/train/progress.json").exists():
        assert killed.poll() is None, (project / "said.log").read_text(encoding="utf-8")
        assert time.monotonic() < deadline
        time.sleep(0.005)
    others = psutil.Process(killed.pid).children(recursive=True)
    process_of(1, killed).kill()
    assert killed.wait(30) == 1
    assert not [process for process in others if process.is_running()]
    said = (project / "said.log").read_text(encoding="utf-8")
    assert "train ended in one of its 2 processes" in said
    assert "continues after step" in wait(start(project, root), project)
    assert read_manifest(project / "law/adapter").domain == "law"
