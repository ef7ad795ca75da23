"""DVC as the memory: asked what is stale before a step, told what was done after it.

So that after a flow ``dvc repro`` finds nothing to do, and the other way round.
"""

import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ParamSpec

import yaml
from prefect import Task

from loramill.config import SECTIONS, Plan, read_yaml
from loramill.errors import ConfigError, DataError
from tasks.progress import say

P = ParamSpec("P")


class Memory:
    """Knows for one domain which steps need to run; a domain that is no part of ``dvc.yaml`` remembers nothing.

    Raises:
        ConfigError: the domain's file leaves out a section that DVC follows.
    """

    def __init__(self, domain: str, *, force: bool = False) -> None:
        self._domain, self._force = domain, force
        self._repo = None
        if domain in remembered_domains():
            _check_sections(domain)
            self._repo = _open_repo()

    def is_fresh(self) -> bool:
        """Tell whether no step of the domain has anything to do."""
        return self._repo is not None and not self._force and not any(self._is_stale(step) for step in SECTIONS)

    def step(self, task: "Task[P, Path]") -> Callable[P, Path]:
        """Return the task as a function that runs only if DVC calls it stale, and tells DVC afterwards."""

        def run(*args: P.args, **kwargs: P.kwargs) -> Path:
            out = kwargs["out"]
            assert isinstance(out, Path)
            if self._repo is not None and not self._force and not self._is_stale(task.name):
                say(task.name, "unchanged, kept")
                return out
            path = task(*args, **kwargs)
            self._done(task.name)
            return path

        return run

    def _is_stale(self, step: str) -> bool:
        with _dvc_explained():
            return bool(self._repo.status(targets=[f"{step}@{self._domain}"]))  # type: ignore[union-attr]

    def _done(self, step: str) -> None:
        if self._repo is None:
            return
        with _dvc_explained(), _stops_wait():
            if step == "validate" and self._repo.status(targets=["data.dvc"]):
                self._repo.commit(target="data.dvc", force=True)
            self._repo.commit(target=f"{step}@{self._domain}", force=True)


def remembered_domains() -> list[str]:
    """Return the domains that ``dvc.yaml`` lists."""
    path = Path("dvc.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [name for part in content.get("vars", []) if isinstance(part, dict) for name in part.get("domains", [])]


def _check_sections(domain: str) -> None:
    """DVC follows sections by name and cannot follow one that is not there; say so before any work is done."""
    path = Path("conf") / f"{domain}.yaml"
    missing = [name for name in Plan.model_fields if name not in read_yaml(path)]
    if missing:
        lines = "".join(f"\n  {name}: {'embedded' if name == 'base' else '{}'}" for name in missing)
        raise ConfigError(f"{path} leaves out what dvc.yaml follows; add (empty means: the default):{lines}")


def data_version() -> str:
    """Return the md5 that ``data.dvc`` holds."""
    path = Path("data.dvc")
    if not path.is_file():
        return "unversioned"
    return str(yaml.safe_load(path.read_text(encoding="utf-8"))["outs"][0]["md5"])


def git_commit() -> str:
    """Return the commit of the code, with ``+changes`` if files differ from it."""
    try:
        head = _git("rev-parse", "HEAD")
        return f"{head}+changes" if _git("status", "--porcelain", "--untracked-files=no") else head
    except (OSError, subprocess.CalledProcessError):
        return "no git"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], check=True, capture_output=True, text=True)  # noqa: S603, S607 - our own words
    return done.stdout.strip()


def _open_repo() -> Any:
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    return Repo(".")


@contextmanager
def _stops_wait() -> Iterator[None]:
    """Let Ctrl-C wait a moment: DVC rewrites dvc.lock in place, and half of one is none."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are heard in the main thread only
        return
    heard: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda got, _: heard.append(got)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
        for missed in heard:
            signal.raise_signal(missed)


@contextmanager
def _dvc_explained() -> Iterator[None]:
    from dvc.exceptions import DvcException
    from dvc.lock import LockError

    try:
        yield
    except LockError as error:
        raise DataError(
            "another dvc command is at work in this repository; wait until it ends and run this again"
        ) from error
    except DvcException as error:
        raise DataError(f"DVC cannot tell what changed: {error}") from error
