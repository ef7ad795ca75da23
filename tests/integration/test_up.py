"""`make up`: everything answers, on this machine only, and Ctrl-C leaves nothing behind."""

import os
import signal
import time
from pathlib import Path
from urllib.request import urlopen

import psutil
import pytest

from tests.copies import Copy, answers, end, free_port, make_copy, wait_until

pytestmark = pytest.mark.timeout(600)  # whole commands, on machines that have other work too


@pytest.fixture
def copy(root: Path, tmp_path: Path, tiny_folder: Path) -> Copy:
    made = make_copy(root, tmp_path / "loramill", tiny_folder)
    made.environment["PREFECT_API_URL"] = f"http://127.0.0.1:{free_port()}/api"
    return made


def test_up_serves_this_machine_alone_and_ctrl_c_ends_every_process(copy: Copy) -> None:
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


def listens_at(process: psutil.Process) -> set[tuple[str, int]]:
    """Addresses and ports at which a process takes connections."""
    found = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
    return {(one.laddr.ip, one.laddr.port) for one in found}


def port(url: str) -> int:
    return int(url.split(":")[2].split("/")[0])
