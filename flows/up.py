"""Everything a person needs on one machine: Prefect server, deployments and a worker, MLflow UI. Ctrl-C stops them all.

``python -m flows.up`` (or `make up`); another address for the MLflow UI may follow. Logs lie in ``artifacts/logs/``. A Prefect
server that answers already is used, not started, and left running.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Final
from urllib.parse import urlsplit

from flows.runs import answers
from flows.tend import Tender
from loramill.privacy import switch_off_telemetry

LOGS: Final = Path("artifacts/logs")
POOL: Final = "loramill"
MLFLOW: Final = "http://127.0.0.1:5000"
WORKER: Final = "prefect-worker"
PATIENCE_SECONDS: Final = 120
DEATHS_AN_HOUR: Final = 5
"""Services that die more often are not started again."""


def up(mlflow: str = MLFLOW) -> None:
    """Start the services, print their addresses, wait until one ends or Ctrl-C, stop those that were started."""
    switch_off_telemetry()
    from prefect.settings import PREFECT_API_URL

    from loramill.tracking import prepare_store

    api = PREFECT_API_URL.value() or "http://127.0.0.1:4200/api"
    os.environ["PREFECT_API_URL"] = api
    LOGS.mkdir(parents=True, exist_ok=True)
    with _services() as start:
        if not answers(f"{api}/health"):
            _say("starting the Prefect server …")
            start("prefect-server", _prefect("server", "start", "--port", str(urlsplit(api).port or 4200)))
            _wait_for(f"{api}/health", "prefect-server")
        _deploy()
        tender = Tender()
        _say(*tender.revive(0))
        # One run at a time: a limit that lives with the worker. A limit kept by the server outlives a killed run and blocks.
        start(WORKER, _prefect("worker", "start", "--pool", POOL, "--limit", "1"))
        _say("starting the MLflow UI …")
        start("mlflow", _mlflow(prepare_store(), mlflow))
        _wait_for(f"{mlflow}/health", "mlflow")
        _say(_addresses(api, mlflow))
        _look_after(start, tender)


class _Services:
    """Starts processes in groups of their own, so that all that they start can be stopped with them."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, list[str]] = {}
        self._deaths: list[float] = []

    def __call__(self, name: str, command: list[str]) -> None:
        with (LOGS / f"{name}.log").open("ab" if name in self._commands else "wb") as log:
            self._commands[name] = command
            self.processes[name] = subprocess.Popen(  # noqa: S603 - our own words
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True
            )

    def can_start_again(self, name: str) -> bool:
        """Tell whether a service that ended by itself is worth another try, and end what it left behind."""
        _signal(self.processes[name], signal.SIGKILL)
        self._deaths = [*(at for at in self._deaths if at > time.monotonic() - 3600), time.monotonic()]
        return len(self._deaths) <= DEATHS_AN_HOUR

    def again(self, name: str) -> None:
        """Start a service once more."""
        self(name, self._commands[name])

    def stop(self) -> None:
        """Ask every process group to end, the last started first; end it after 20 seconds."""
        for process in reversed(self.processes.values()):
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + 20
        for process in self.processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)


@contextmanager
def _services() -> Iterator[_Services]:
    services = _Services()
    signal.signal(signal.SIGTERM, _as_interrupt)
    signal.signal(signal.SIGINT, _as_interrupt)
    try:
        yield services
    except KeyboardInterrupt:
        _say("\nstopping …")
    finally:
        services.stop()


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _deploy() -> None:
    """Create the work pool and apply prefect.yaml."""
    _say("applying prefect.yaml …")
    steps: list[tuple[list[str], Callable[[str], bool]]] = [
        (_prefect("work-pool", "create", POOL, "--type", "process"), lambda text: "already exists" in text),
        (_prefect("deploy", "--all"), lambda text: False),
    ]
    for command, is_fine in steps:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own words
        if done.returncode and not is_fine(done.stdout + done.stderr):
            sys.exit(f"`{' '.join(command[2:])}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def _prefect(*words: str) -> list[str]:
    return [sys.executable, "-m", "prefect", "--no-prompt", *words]


def _mlflow(store: str, address: str) -> list[str]:
    port = str(urlsplit(address).port)
    return [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, "--port", port, "--workers", "1"]


def _wait_for(url: str, name: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not answers(url):
        if time.monotonic() > deadline:
            sys.exit(f"{name} does not answer at {url} after {PATIENCE_SECONDS} s; its log: {LOGS / name}.log")
        time.sleep(0.3)


def _look_after(start: _Services, tender: Tender) -> None:
    """Wait until services end again and again; one that was killed starts anew, and a killed worker's run goes on."""
    while True:
        for name, process in list(start.processes.items()):
            if process.poll() is None:
                continue
            _say(f"{name} ended by itself (status {process.returncode}); its log: {LOGS / name}.log")
            if not start.can_start_again(name):
                return
            _say(f"starting {name} again …")
            if name == WORKER:
                _say(*tender.revive(0))
            start.again(name)
        _say(*tender.look())
        time.sleep(0.5)


def _addresses(api: str, mlflow: str) -> str:
    return (
        f"\n  Prefect   {api.removesuffix('/api')}     flows, schedules, logs"
        f"\n  MLflow    {mlflow}     runs, curves, adapters"
        "\n\nin another terminal, after `. .venv/bin/activate`:"
        "\n  prefect deployment run finetune/law --watch     one domain, now"
        "\n  prefect deployment run nightly/all --watch      what the night does, now"
        "\n\nCtrl-C stops everything."
    )


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)
    sys.stdout.flush()


if __name__ == "__main__":
    up(*sys.argv[1:2])
