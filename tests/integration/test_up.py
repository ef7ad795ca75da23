"""`make up`: everything answers, on this machine only; what is killed starts again; Ctrl-C leaves nothing behind."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest
from filelock import FileLock

from tests.copies import Copy, answers, asked, digests, end, free_port, make_copy, wait_until

pytestmark = pytest.mark.timeout(600)  # whole commands, on machines that have other work too


@pytest.fixture
def copy(root: Path, tmp_path: Path, tiny_folder: Path) -> Copy:
    made = make_copy(root, tmp_path / "loramill", tiny_folder)
    made.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{free_port()}/api"
    return made


def test_up_serves_this_machine_alone_starts_again_what_is_killed_and_ends_with_ctrl_c(copy: Copy) -> None:
    api, mlflow = copy.environment["PREFECT_API_URL"], f"http://127.0.0.1:{free_port()}"
    process = copy.start("python", "-m", "flows.up", mlflow)
    family: list[psutil.Process] = []
    try:
        wait_until(lambda: "Ctrl-C stops everything." in copy.said() or process.poll() is not None, 400)
        assert process.poll() is None, copy.said()
        for address in (api.removesuffix("/api"), mlflow, "prefect deployment run finetune/law --watch"):
            assert address in copy.said()
        assert answers(f"{api}/health")
        with urlopen(mlflow, timeout=10) as page:
            assert b"MLflow" in page.read()
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 3, "a server, a worker and the MLflow UI"
        heard_at = set().union(*(listens_at(one) for one in family))
        assert {port(api), port(mlflow)} <= {number for _, number in heard_at}
        assert {place for place, _ in heard_at} == {"127.0.0.1"}
        a_killed_worker_starts_again_and_its_night_goes_on(copy, process, api)
        a_second_run_of_a_domain_ends_at_once(copy)
        new_rows_start_a_night(copy, api)
        family = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        asked = time.monotonic()
        assert process.wait(40) == 0, copy.said()
        assert time.monotonic() - asked < 40
        assert "stopping …" in copy.said()
        assert "Traceback" not in copy.said()
        assert [one for one in family if one.is_running() and one.status() != psutil.STATUS_ZOMBIE] == []
        assert not answers(f"{api}/health")
        assert not answers(f"{mlflow}/health")
    finally:
        end(process)
        for one in family:
            if one.is_running():
                one.kill()


def a_killed_worker_starts_again_and_its_night_goes_on(
    copy: Copy, process: "subprocess.Popen[bytes]", api: str
) -> None:
    night = asked(f"{api}/deployments/name/nightly/all")
    run = asked(f"{api}/deployments/{night['id']}/create_flow_run", {"parameters": {"domains": ["law"]}})["id"]
    training = copy.folder / "artifacts/work/nightly"
    wait_until(lambda: list(training.rglob("progress.json")), 200)
    (worker,) = (one for one in psutil.Process(process.pid).children() if "worker" in one.cmdline())
    for victim in [worker, *worker.children(recursive=True)]:
        victim.kill()
    wait_until(lambda: asked(f"{api}/flow_runs/{run}")["state_type"] == "COMPLETED", 200, pause=1)
    assert asked(f"{api}/flow_runs/{run}")["run_count"] == 2
    assert "starting prefect-worker again …" in copy.said()
    assert "it goes on (attempt 2)" in copy.said()
    with sqlite3.connect(f"file:{copy.folder}/mlruns/mlflow.db?mode=ro", uri=True) as store:
        flows = "select run_uuid from tags where key = 'kind' and value = 'flow'"
        ends = store.execute(f"select status, count(*) from runs where run_uuid in ({flows}) group by status")
        assert dict(ends.fetchall()) == {"KILLED": 1, "FINISHED": 1}
    told = json.loads((copy.folder / "artifacts/nightly/morning.json").read_text(encoding="utf-8"))
    assert [(each["domain"], each["version"]) for each in told["domains"]] == [("law", "version 1")]


def a_second_run_of_a_domain_ends_at_once(copy: Copy) -> None:
    before = digests(copy.folder / "artifacts/law")
    with FileLock(copy.folder / "artifacts/law/work/at-work.lock"):
        second = subprocess.run(
            [sys.executable, "-m", "flows.finetune", "law", "--force"],
            cwd=copy.folder,
            env=os.environ | copy.environment | {"PYTHONPATH": str(copy.folder)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert second.returncode == 1
    assert "error: law: process" in second.stderr
    assert "is at work on it; nothing was done here" in second.stderr
    assert digests(copy.folder / "artifacts/law") == before


def new_rows_start_a_night(copy: Copy, api: str) -> None:
    pointer = copy.folder / "data.dvc"
    pointer.write_text(pointer.read_text(encoding="utf-8").replace("md5: ", "md5: 0", 1), encoding="utf-8")
    wait_until(lambda: "a night starts now" in copy.said(), 60)

    def started() -> list[str]:
        runs = asked(f"{api}/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 50})
        return [run["state_type"] for run in runs if (run["created_by"] or {}).get("type") == "AUTOMATION"]

    wait_until(lambda: "RUNNING" in started(), 90, pause=0.5)


def listens_at(process: psutil.Process) -> set[tuple[str, int]]:
    """Addresses and ports at which a process takes connections."""
    found = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    return {(one.laddr.ip, one.laddr.port) for one in found}


def port(url: str) -> int:
    return int(url.split(":")[2].split("/")[0])
