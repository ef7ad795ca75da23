"""Two workers on one PostgreSQL study: no trial is trained twice to its end, and those of a killed worker are taken over."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from loramill.search.study import Record
from tests.integration.search_worker import CONFIG, OBJECTIVE
from tests.unit.search.play import Pack, dreamt, facts

BINARIES = [Path("/usr/lib/postgresql/15/bin"), *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def binary(name: str) -> str:
    """The path of one of PostgreSQL's programs; without it, the test is skipped."""
    found = [str(folder / name) for folder in BINARIES if (folder / name).is_file()] or [shutil.which(name)]
    if found[0] is None:
        pytest.skip(f"PostgreSQL is not installed here ({name} is missing): apt-get install postgresql")
    return found[0]


def as_nobody(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command] if os.getuid() == 0 else command


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a fresh PostgreSQL server of our own."""
    pytest.importorskip("psycopg2", reason="the driver is an extra: pip install 'loramill[postgres]'")
    initdb, server = binary("initdb"), binary("postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = Path(f"/tmp/loramill-postgres-{os.getpid()}")
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    try:
        made = [initdb, "-D", f"{folder}/data", "-U", "tester", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C"]
        subprocess.run(as_nobody(made), check=True, capture_output=True)
        said = ["-D", f"{folder}/data", "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-F"]
        with subprocess.Popen(as_nobody([server, *said]), stderr=subprocess.DEVNULL) as process:
            wait_for(port)
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
            process.send_signal(signal.SIGINT)
            process.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(0.5)  # it listens before it answers
                return
        time.sleep(0.1)
    pytest.fail("PostgreSQL did not start within 30 s")


def worker(address: str, root: Path, said: Path, seconds: float) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-W", "ignore", "-m", "tests.integration.search_worker", address, str(seconds)]
    with said.open("wb") as file:
        return subprocess.Popen(command, cwd=root, stdout=file, stderr=subprocess.STDOUT)


def until(said: Path, words: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while words not in said.read_text():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < deadline, said.read_text()
        time.sleep(0.02)


def test_two_workers_one_killed_end_as_one_left_alone(database: str, root: Path, tmp_path: Path) -> None:
    alone, entries = dreamt(CONFIG, Pack(OBJECTIVE, 1))
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    killed = worker(database, root, first, 0.2)
    other = worker(database, root, second, 0.02)
    until(first, "check 2 of", killed)
    killed.kill()
    killed.wait(10)
    assert other.wait(120) == 0, second.read_text()

    said = second.read_text()
    assert f"found {alone.settings.model_dump_json()} {alone.said}" in said
    assert f"facts {facts(entries)}" in said
    lines = [file.read_text().split("\n") for file in (first, second)]
    come = Counter(line for line in itertools.chain(*lines) if line.startswith(("paused ", "finished ")))
    assert set(come.values()) == {1}, "a trial was trained to the same place twice"
    assert {f"trial{entry.number}" for entry in entries} <= {line.split()[1] for line in come}
    begun = {line.split()[-1] for line in lines[0] if line.startswith("check ")}
    finished = {line.split()[1] for line in lines[0] if line.startswith("finished ")}
    assert begun - finished, "none was left"
    record = Record("law", database)
    assert [trial.number for trial in record.study.get_trials(deepcopy=False)] == list(range(len(entries)))
