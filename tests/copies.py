"""A copy of the repository with a tiny plan and few rows, in which whole commands run as a person types them."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml

BIN = Path(sys.executable).parent
NOBODY = "http://127.0.0.1:9"
"""An address at which nothing answers."""
ROWS_PER_FILE = {"law": 14, "customer-service": 26}


@dataclass
class Copy:
    """A repository of its own; `run` types a command in it."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """Start a command in a process group of its own; what it says goes into said.log."""
        with (self.folder / "said.log").open("wb") as said:
            return subprocess.Popen(
                words,
                cwd=self.folder,
                env=self._environment(),
                stdout=said,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                preexec_fn=hear_ctrl_c,
            )

    def popen(self, *words: str) -> "subprocess.Popen[str]":
        """Start a program that is spoken with line by line."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            words, cwd=self.folder, env=self._environment(), stdin=pipe, stdout=pipe, text=True, preexec_fn=hear_ctrl_c
        )

    def run(self, *words: str, status: int = 0) -> str:
        """Return what the command said; its status must be as expected."""
        process = self.start(*words)
        try:
            process.wait(500)
        finally:
            end(process)
        assert process.returncode == status, self.said()
        return self.said()

    def said(self) -> str:
        return (self.folder / "said.log").read_text(encoding="utf-8")

    def plan(self, domain: str, **changes: object) -> None:
        """Write conf/<domain>.yaml anew: the tiny plan with some sections changed."""
        (self.folder / "conf" / f"{domain}.yaml").write_text(self.plan_text(**changes), encoding="utf-8")

    def plan_text(self, **changes: object) -> str:
        content = {
            "base": self.environment["TINY_BASE"],
            "validation": {"min_rows": 10},
            "split": {"validation": 0.15, "test": 0.2, "min_test_rows": 4},
            "learning": {},
            "search": {"trials": 2, "pack": 2, "epochs": 1, "rank": [4], "alpha_ratio": [2.0]},
            "train": {"epochs": 4, "patience": 4, "save_steps": 2},
            "evaluate": {"answers": 2, "max_new_tokens": 8},
            "promote": {},
        }
        return yaml.safe_dump(content | changes)

    def _environment(self) -> dict[str, str]:
        own = {
            "PYTHONPATH": str(self.folder),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "PREFECT_HOME": str(self.folder.parent / "prefect"),
            "PREFECT_API_URL": f"{NOBODY}/api",
        }
        return os.environ | own | self.environment


def make_copy(root: Path, folder: Path, tiny_base: Path) -> Copy:
    """Copy what git knows of the working tree, with few rows of each domain and the tiny plan, as a fresh repository."""
    listed = _git(root, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in listed:
        if (root / name).is_file() and name != "dvc.lock":  # what a run here remembers is none of the copy's business
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    copy = Copy(folder, {"TINY_BASE": str(tiny_base)})
    for domain, count in ROWS_PER_FILE.items():
        _few_rows(root / "data" / domain, folder / "data" / domain, count)
        copy.plan(domain)
    _git(folder, "init", "--quiet")
    commit(folder)
    return copy


def commit(folder: Path) -> None:
    """Commit everything."""
    _git(folder, "add", "--all")
    _git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "--message", "tiny")


def _few_rows(source: Path, place: Path, count: int) -> None:
    files = sorted(source.iterdir())
    assert files, f"no rows in {source}"
    place.mkdir(parents=True)
    for file in files:
        mark = "\n\n" if file.suffix == ".txt" else "\n"
        rows = file.read_text(encoding="utf-8").strip().split(mark)
        (place / file.name).write_text(mark.join(rows[:count]) + "\n", encoding="utf-8")


def sample_rows(root: Path, count: int) -> dict[str, str]:
    """Return question and answer of the first single-turn rows of the law data."""
    blocks = [
        block.strip().split("\n")
        for file in sorted((root / "data/law").iterdir())
        for block in file.read_text(encoding="utf-8").strip().split("\n\n")
    ]
    pairs = [[line.split("：", 1)[1] for line in block] for block in blocks if len(block) == 2]
    return dict(pairs[:count])


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def hear_ctrl_c() -> None:
    """A background job is started deaf to Ctrl-C, and so are its children; a person's terminal is not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def end(process: "subprocess.Popen[bytes]") -> None:
    """End what is left of a process group."""
    if is_alive(process):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def is_alive(process: "subprocess.Popen[bytes]") -> bool:
    """Tell whether any process of the group is left."""
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def wait_until(
    is_so: Callable[[], object], seconds: float, pause: float = 0.05, told: Callable[[], str] = lambda: ""
) -> None:
    """Wait; after so many seconds fail with what was told by then."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"not within {seconds} s; {told()}"
        time.sleep(pause)


def asked(url: str, body: dict[str, Any] | None = None) -> Any:
    """Return what a server answers to a request."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data, headers={"Content-Type": "application/json"}), timeout=20) as reply:
        return json.load(reply)


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


@contextmanager
def prefect_server(home: Path) -> Iterator[str]:
    """Run a Prefect server of its own home and port; give its address."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", str(port)]
    environment = os.environ | {"PREFECT_HOME": str(home), "PREFECT_API_URL": api, "PREFECT_SERVER_API_PORT": str(port)}
    home.mkdir(parents=True, exist_ok=True)
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True, preexec_fn=hear_ctrl_c
        )
    try:
        wait_until(lambda: answers(f"{api}/health"), 120)
        yield api
    finally:
        process.terminate()
        process.wait(30)
        end(process)


def done(copy: Copy) -> set[str]:
    """Return the steps that DVC remembers of the law domain."""
    path = copy.folder / "dvc.lock"
    stages = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("stages", {}) if path.is_file() else {}
    return {name.removesuffix("@law") for name in stages if name.endswith("@law")}


def assert_whole(copy: Copy, *, is_killed: bool = False) -> None:
    """Every file there is can be read; a kill may leave half of one, beside its place under a name that nobody reads."""
    for path in (copy.folder / "artifacts").rglob("*"):
        is_half = (
            any(part.startswith(".") for part in path.relative_to(copy.folder).parts) and path.name != ".gitignore"
        )
        assert is_killed or not is_half, path
        if path.suffix == ".json" and not is_half:
            json.loads(path.read_text(encoding="utf-8"))
    if (copy.folder / "dvc.lock").exists():  # DVC writes it in place
        assert done(copy)


def needs_small_disks() -> None:
    """Skip a test where nobody may mount a disk of its own."""
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk for a test")


def digests(folder: Path, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the sha256 of every file below a folder, some names left out."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not {*path.parts} & {*but}]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
