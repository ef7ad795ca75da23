"""Against a real Prefect server: deployments as written, and a schedule that really creates runs."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest


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
    assert names == {"law", "customer-service"}

    def scheduled() -> set[str]:
        runs = post(f"{api}/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
        return {run["parameters"]["domain"] for run in runs}

    wait_for(lambda: scheduled() == names, 60)


def test_parameters_are_typed_for_the_form(server: dict[str, str]) -> None:
    entries = post(f"{server['PREFECT_API_URL']}/deployments/filter", {})
    schema = entries[0]["parameter_openapi_schema"]["properties"]
    assert schema["domain"]["type"] == "string"
    assert schema["force"]["type"] == "boolean"
    assert "run every step" in schema["force"]["description"]


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
