"""What a run survives: kill -9 in every step, a locked database, a full disk at night. Each time the next run goes on.

One copy of the repository goes through all of it, so the tests stand in order.
"""

import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loramill.config import SECTIONS
from loramill.pack.manifest import read_manifest
from loramill.reports import read_json
from tests.copies import Copy, asked, assert_whole, digests, done, end, make_copy, needs_small_disks, wait_until

pytestmark = pytest.mark.timeout(600)  # whole commands, on machines that have other work too
STEPS = list(SECTIONS)
LAW = "artifacts/law"
KILLED_BEFORE = {
    "validate": (f"{LAW}/records.jsonl", 1),
    "split": (f"{LAW}/splits", 1),
    "search": (f"{LAW}/settings.yaml", 1),
    "train": (f"{LAW}/work/train", 2),
    "evaluate": (f"{LAW}/scores.json", 1),
    "promote": (f"{LAW}/reports/promote.json", 1),
}
"""What each step has written beside its place, and is about to put there, for the so-manieth time, when the kill hits it."""


@dataclass(frozen=True)
class Worker:
    """A copy of the repository, and the process whose children run in it."""

    copy: Copy
    process: "subprocess.Popen[str]"

    def run(self, path: str = "", count: int = 1) -> str:
        """Run the flow to its end, or until it is about to put something into a place; return what it said."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"finetune {path} {count}\n" if path else "finetune\n")
        self.process.stdin.flush()
        status = int(self.process.stdout.readline() or "1")
        assert status == (-signal.SIGKILL if path else 0), self.copy.said()
        return self.copy.said()


@pytest.fixture(scope="module")
def worker(root: Path, tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path, api: str) -> Iterator[Worker]:
    """A copy of its own, and a worker in it."""
    copy = make_copy(root, tmp_path_factory.mktemp("survives") / "loramill", tiny_folder)
    copy.environment["PREFECT_API_URL"] = api
    with copy.popen("python", "-m", "tests.e2e.worker") as process:
        yield Worker(copy, process)
        process.communicate()


@pytest.mark.parametrize("step", STEPS)
def test_a_kill_leaves_every_file_whole_and_the_next_run_goes_on(worker: Worker, step: str) -> None:
    copy = worker.copy
    kept = digests(copy.folder / "artifacts", but=("work", "reports", "logs"))
    path, count = KILLED_BEFORE[step]
    said = worker.run(path, count)
    before = STEPS[: STEPS.index(step)]
    assert done(copy) == set(before)
    for name in before[:-1]:
        assert f"{name:<9} unchanged, kept" in said
    assert ("continues after step 2" in said) == (
        step == "evaluate"
    )  # only the run before that one died while it trained
    assert not (copy.folder / path).exists()
    assert_whole(copy, is_killed=True)
    now = digests(copy.folder / "artifacts", but=("work", "reports", "logs"))
    assert kept.items() <= now.items()


@pytest.fixture(scope="module")
def ended(worker: Worker) -> str:
    """What the run said that nobody killed: the one that every kill promised."""
    return worker.run()


def test_after_six_kills_everything_is_done_once_and_nothing_runs_for_ever(
    worker: Worker, ended: str, api: str
) -> None:
    for name in STEPS[:-1]:
        assert f"{name:<9} unchanged, kept" in ended
    assert done(worker.copy) == set(STEPS)
    # The sixth run died after its adapter had been promoted, before it could say so.
    ruling = read_json(worker.copy.folder / LAW / "reports/promote.json")
    assert (ruling["version"], ruling["decision"]) == ("1", "already champion")
    assert ask(worker.copy, "select count(*) from model_versions") == [(1,)]
    assert [status for _, status in flows(worker.copy)] == ["KILLED"] * 6 + ["FINISHED"]
    assert ask(worker.copy, "select count(*) from runs where status = 'RUNNING'") == [(0,)]
    for kind in ("flow_runs", "task_runs"):
        assert states(worker.copy, api, kind) == {"COMPLETED", "CRASHED"}


def test_a_locked_database_stops_no_training_and_a_whole_run_ends_as_the_killed_ones_did(
    worker: Worker, ended: str
) -> None:
    copy, law = worker.copy, worker.copy.folder / LAW
    killed = end_of(law)
    law.rename(copy.folder / "killed")
    (copy.folder / "dvc.lock").unlink()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(worker.run)
        wait_until(lambda: (law / "work/train/progress.json").exists() or run.done(), 200, pause=0.01)
        with locked(copy.folder / "mlruns/mlflow.db"):  # MLflow waits 20 s for it
            wait_until(lambda: (law / "adapter").exists() or run.done(), 120)
            assert not run.done(), "it was to end its training while the database was locked"
        said = run.result(200)
    assert said.count("the diary missed an entry") >= 2
    assert "database is locked" in said
    assert "MLflow answers again: it was given" in said
    assert end_of(law) == killed
    last, status = flows(copy)[-1]
    assert status == "FINISHED"
    steps = read_json(law / "reports/train.json")["steps"]
    for name in ("train_loss", "gradient_norm"):
        query = "select count(*) from metrics where run_uuid = ? and key = ?"
        assert ask(copy, query, last, name) == [(steps,)]


NIGHTS = """
mount -t tmpfs -o size={small}k none artifacts && cp -r store/. artifacts || exit 77
sha256sum $(find artifacts -type f -not -path "*/reports/*" -not -path "*/work/*" -not -path "*/nightly/*") > before
python -m tests.e2e.worker > statuses <<END
nightly
!cp said.log full.log; sha256sum --check --quiet before
!mount -o remount,size={large}k artifacts
nightly
!cp artifacts/nightly/morning.json artifacts/law/adapter/loramill.json .
END
"""
ROOM = 60
"""kB that are free: enough for the reports of the first steps, not for a checkpoint."""


def test_a_disk_that_fills_at_night_loses_nothing_and_the_next_night_is_right(worker: Worker, ended: str) -> None:
    needs_small_disks()
    copy, store = worker.copy, worker.copy.folder / "store"
    copy.plan("law", train={"epochs": 3, "patience": 3, "save_steps": 1})
    subprocess.run(["cp", "-rL", str(copy.folder / "artifacts"), str(store)], check=True)
    used = sum(-(-path.stat().st_size // 4096) * 4 for path in store.rglob("*") if path.is_file())
    (copy.folder / "full.sh").write_text(NIGHTS.format(small=used + ROOM, large=used + 100_000), encoding="utf-8")
    process = copy.start("unshare", "-rm", "sh", "full.sh")
    try:
        assert process.wait(240) == 0, copy.said()
    finally:
        end(process)
    assert (copy.folder / "statuses").read_text(encoding="utf-8").split() == ["1", "0"], copy.said()
    full = (copy.folder / "full.log").read_text(encoding="utf-8")
    assert "morning   law: failed" in full  # a small page has still room
    last = full.rstrip().splitlines()[-1]
    assert last.startswith("  law: no room to write 'artifacts/work/nightly/")
    assert last.endswith("Nothing was lost: free some space and run the same command again, it continues.")
    (told,) = read_json(copy.folder / "morning.json")["domains"]
    assert told["ending"] in {"promoted", "kept the champion"}, told
    assert told["version"] == "version 2"
    assert read_json(copy.folder / "loramill.json")["training"]["train"]["epochs"] == 3


def end_of(law: Path) -> dict[str, Any]:
    """What a run comes to, without the seconds that it took."""
    scores = read_json(law / "scores.json")
    files = ("records.jsonl", "splits/train.jsonl", "splits/validation.jsonl", "splits/test.jsonl", "settings.yaml")
    return {
        **{name: (law / name).read_text(encoding="utf-8") for name in files},
        **{name: scores[name] for name in ("loss", "verdicts", "per_row", "answers")},
        "adapter": read_manifest(law / "adapter").digest,
    }


def ask(copy: Copy, query: str, *values: str) -> list[tuple[Any, ...]]:
    """Ask MLflow's database."""
    with sqlite3.connect(f"file:{copy.folder}/mlruns/mlflow.db?mode=ro", uri=True) as store:
        return store.execute(query, values).fetchall()


def flows(copy: Copy) -> list[tuple[str, str]]:
    """Return run and status of the flow runs in the diary, the first one first."""
    mine = "select run_uuid from tags where key = 'kind' and value = 'flow'"
    return ask(copy, f"select run_uuid, status from runs where run_uuid in ({mine}) order by start_time")


def states(copy: Copy, api: str, kind: str) -> set[str]:
    """Return the states of this copy's flow runs or task runs, as Prefect has them."""
    ids = [id for (id,) in ask(copy, "select value from tags where key = 'prefect.flow_run_id'")]
    return {run["state_type"] for run in asked(f"{api}/{kind}/filter", {"flow_runs": {"id": {"any_": ids}}})}


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Hold a database as another program would that writes into it for a long time."""
    holder = sqlite3.connect(database, timeout=30, isolation_level=None)
    try:
        holder.execute("begin exclusive")
        yield
        holder.execute("rollback")
    finally:
        holder.close()
