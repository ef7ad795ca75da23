"""Against a real Prefect server: deployments as written, and a schedule that really creates runs."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from zoneinfo import ZoneInfo

import pytest

from flows.locks import RUNS
from flows.tend import ATTEMPTS

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Prefect server of its own home and port; gives the environment that reaches it."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    api = f"http://127.0.0.1:{port}/api"
    environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_API_URL": api, "PREFECT_SERVER_API_PORT": str(port)}
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_for(lambda: urlopen(f"{api}/health", timeout=2).status == 200, 120)
        yield environment
    finally:
        process.terminate()
        process.wait(30)


def test_schedule_really_creates_runs_for_every_deployment(root: Path, server: dict[str, str]) -> None:
    """Some versions of the server's libraries let every schedule look active and never fire."""
    prefect(root, server, "work-pool", "create", "loramill", "--type", "process")
    prefect(root, server, "deploy", "--all")
    api = server["PREFECT_API_URL"]
    names = {entry["name"] for entry in post(f"{api}/deployments/filter", {})}
    assert names == {"all", "law", "customer-service"}

    def scheduled() -> list[dict[str, Any]]:
        return post(f"{api}/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})

    wait_for(scheduled, 60)
    assert {datetime.fromisoformat(run["expected_start_time"]).astimezone(SHANGHAI).hour for run in scheduled()} == {2}


def test_parameters_are_typed_for_the_form(server: dict[str, str]) -> None:
    schema = deployments(server)["law"]["parameter_openapi_schema"]["properties"]
    assert schema["domain"]["type"] == "string"
    assert schema["force"]["type"] == "boolean"
    assert "run every step" in schema["force"]["description"]


def test_a_change_of_the_rows_starts_a_night_at_once(root: Path, server: dict[str, str]) -> None:
    def nights() -> list[dict[str, Any]]:
        runs = post(f"{server['PREFECT_API_URL']}/flow_runs/filter", {})
        return [run for run in runs if (run["created_by"] or {}).get("type") == "AUTOMATION"]

    assert nights() == []
    python(root, server, "from flows.tend import tell_of_rows; tell_of_rows('abc')")
    wait_for(nights, 30)
    assert [run["deployment_id"] for run in nights()] == [deployments(server)["all"]["id"]]


def test_a_run_whose_process_is_gone_is_no_zombie(root: Path, tmp_path: Path, server: dict[str, str]) -> None:
    """A lock file that nobody holds is what a kill leaves."""
    crashed, running, hopeless, done = (
        dead_run(server, tmp_path, kind, count)
        for kind, count in (("CRASHED", 1), ("RUNNING", 1), ("RUNNING", ATTEMPTS), ("COMPLETED", 1))
    )
    code = "from flows.tend import Tender; tender = Tender(); print(tender.revive(60)); print(tender.revive({}))"
    python(root, server, f"import os; os.chdir({str(tmp_path)!r}); {code.format(60)}")
    # a worker that lives may still be about to report the two that are running
    assert states(server, crashed, running, hopeless, done) == ["SCHEDULED", "RUNNING", "RUNNING", "COMPLETED"]
    python(root, server, f"import os; os.chdir({str(tmp_path)!r}); {code.format(0)}")
    assert states(server, crashed, running, hopeless, done) == ["SCHEDULED", "SCHEDULED", "CRASHED", "COMPLETED"]
    assert list((tmp_path / RUNS).iterdir()) == []


RETRIES = """
from prefect import flow, task
from loramill.errors import DataError, TrackingError
import tasks.retries
tasks.retries.DELAYS_SECONDS = (0.0, 0.0, 0.0)
calls = []

@task
def away():
    calls.append("away")
    if calls.count("away") < 3:
        raise TrackingError("MLflow is away")

@task
def bad():
    calls.append("bad")
    raise DataError("bad rows")

@flow
def story():
    tasks.retries.patient(away)()
    tasks.retries.patient(bad)()

try:
    story()
except DataError:
    print(calls)
"""


def test_only_what_can_succeed_is_tried_again(root: Path, server: dict[str, str]) -> None:
    said = python(root, server | {"PREFECT_LOGGING_LEVEL": "CRITICAL"}, RETRIES)
    assert said.strip() == "['away', 'away', 'away', 'bad']"


def dead_run(server: dict[str, str], place: Path, kind: str, count: int) -> str:
    """A run of a deployment in some state, started so many times, of which only the lock file is left."""
    api = server["PREFECT_API_URL"]
    made: Any = post(f"{api}/deployments/{deployments(server)['law']['id']}/create_flow_run", {"parameters": {}})
    for state in [*["RUNNING", "SCHEDULED"] * (count - 1), "RUNNING", kind]:
        post(f"{api}/flow_runs/{made['id']}/set_state", {"state": {"type": state}, "force": True})
    (place / RUNS).mkdir(parents=True, exist_ok=True)
    (place / RUNS / f"{made['id']}.lock").touch()
    return str(made["id"])


def states(server: dict[str, str], *runs: str) -> list[str]:
    found = post(f"{server['PREFECT_API_URL']}/flow_runs/filter", {"flow_runs": {"id": {"any_": list(runs)}}})
    kinds = {run["id"]: run["state"]["type"] for run in found}
    return [kinds[run] for run in runs]


def deployments(server: dict[str, str]) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in post(f"{server['PREFECT_API_URL']}/deployments/filter", {})}


def python(root: Path, environment: dict[str, str], code: str) -> str:
    own = environment | {"PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=own, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def prefect(root: Path, environment: dict[str, str], *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", *words],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def post(url: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    request = Request(url, data=json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    with urlopen(request, timeout=10) as reply:
        return json.load(reply)  # type: ignore[no-any-return]


def wait_for(is_so: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if is_so():
                return
        except OSError:
            pass
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)
