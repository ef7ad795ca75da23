"""DVC as the memory: asked what is stale before a step, told what was done after it.

So that after a flow ``dvc repro`` finds nothing to do, and the other way round.
"""

import hashlib
import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, ParamSpec

import yaml
from prefect import Task

from loramill.config import SECTIONS, Plan, read_yaml
from loramill.errors import BusyError, ConfigError, DataError
from loramill.reports import read_json, stops_wait, write_text
from tasks.progress import say
from tasks.retries import patient

P = ParamSpec("P")
PATIENCE: Final = 20
"""Times that DVC is asked while another dvc command is at work, 3 seconds each."""
SEEN: Final = Path("artifacts/work/data.md5")
"""The version of the rows that a run itself told DVC of: no news for whoever watches ``data.dvc``."""
UNFOLLOWED: Final = {"nightly"}
"""Sections that change no step."""
JUDGING: Final = ("evaluate", "promote")
"""Steps that what is in service matters to: DVC cannot see that another champion took over."""


class Memory:
    """Knows for one domain which steps need to run; a domain that is no part of ``dvc.yaml`` remembers nothing.

    Raises:
        ConfigError: the domain's file leaves out a section that DVC follows.
    """

    def __init__(self, domain: str, *, force: bool = False) -> None:
        self._domain, self._force = domain, force
        self._repo = None
        self._plan = _plan_digest(domain)
        if domain in remembered_domains():
            _check_sections(domain)
            _lay_aside_half_a_lock()
            self._repo = _open_repo()

    def is_fresh(self) -> bool:
        """Tell whether no step of the domain has anything to do."""
        return self._repo is not None and not self._force and not any(self.is_stale(step) for step in SECTIONS)

    def step(self, task: "Task[P, Path]") -> Callable[P, Path]:
        """Return the task as a function that runs only if DVC calls it stale, and tells DVC afterwards."""

        def run(*args: P.args, **kwargs: P.kwargs) -> Path:
            out = kwargs["out"]
            assert isinstance(out, Path)
            if self._repo is not None and not self._force and not self.is_stale(task.name):
                say(task.name, "unchanged, kept")
                return out
            rows = _rows_stamp(self._domain) if task.name == "validate" else []
            path = patient(task)(*args, **kwargs)
            if rows and rows != _rows_stamp(self._domain):
                say(task.name, f"rows of {self._domain} changed while they were read: the next run reads them again")
            else:
                self.done(task.name)
            return path

        return run

    def is_stale(self, step: str) -> bool:
        """Tell whether a step has something to do; where nothing is remembered, it always has."""
        repo = self._repo
        if repo is None or (step in JUDGING and was_not_judged(self._domain)):
            return True
        return bool(_asked(lambda: repo.status(targets=[f"{step}@{self._domain}"])))

    def done(self, step: str) -> None:
        """Tell DVC that what a step leaves is what it should be, unless the plan was edited since this memory began.

        DVC would write down the edited plan, as if the step had obeyed that one, and never do it again.
        """
        repo = self._repo
        if repo is None:
            return
        if _plan_digest(self._domain) != self._plan:
            say(step, f"conf/ changed while {self._domain} was at work: the next run looks at this step again")
            return
        with stops_wait():  # either both or none
            if step == "validate" and _asked(lambda: repo.status(targets=["data.dvc"])):
                _asked(lambda: repo.commit(target="data.dvc", force=True))
                write_text(SEEN, data_version())
            _asked(lambda: repo.commit(target=f"{step}@{self._domain}", force=True))


def _plan_digest(domain: str) -> str:
    """Return one sha256 over the files of ``conf/`` that a domain obeys: those of other domains may change."""
    paths = [path for path in Path("conf").rglob("*.yaml") if len(path.parts) > 2 or path.stem in {"default", domain}]
    return hashlib.sha256(str([(str(path), path.read_bytes()) for path in sorted(paths)]).encode()).hexdigest()


def _rows_stamp(domain: str) -> list[tuple[str, int, int]]:
    """Return names, sizes in bytes and moments (ns) of change of a domain's files: cheap, whatever lies in them."""
    files = sorted(path for path in (Path("data") / domain).rglob("*") if path.is_file())
    return [(str(path), (found := path.stat()).st_size, found.st_mtime_ns) for path in files]


def was_not_judged(domain: str) -> bool:
    """Tell whether the last ruling was none, because the champion had changed since the scores were made."""
    path = Path("artifacts") / domain / "reports" / "promote.json"
    return path.is_file() and read_json(path).get("decision") == "not judged"


def remembered_domains() -> list[str]:
    """Return the domains that ``dvc.yaml`` lists."""
    path = Path("dvc.yaml")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return [name for part in content.get("vars", []) if isinstance(part, dict) for name in part.get("domains", [])]


def _check_sections(domain: str) -> None:
    """DVC follows sections by name and cannot follow one that is not there; say so before any work is done."""
    path = Path("conf") / f"{domain}.yaml"
    missing = [name for name in Plan.model_fields if name not in {*read_yaml(path), *UNFOLLOWED}]
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


def cached_file(md5: str) -> Path | None:
    """Return where DVC's cache keeps a file of this content, if it does."""
    from dvc.exceptions import NotDvcRepoError

    try:
        path = Path(_open_repo().cache.local.oid_to_path(md5))
    except NotDvcRepoError:
        return None
    return path if path.is_file() else None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], check=True, capture_output=True, text=True)  # noqa: S603, S607 - our own words
    return done.stdout.strip()


def _open_repo() -> Any:
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    return Repo(".")


def _lay_aside_half_a_lock() -> None:
    """Rename a ``dvc.lock`` that breaks off in the middle: a kill hit DVC while it rewrote it, and nobody can read it.

    One with the marks of a merge is a person's to settle, and stays.
    """
    path = Path("dvc.lock")
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else "stages: {}"
    try:
        is_whole = isinstance(yaml.safe_load(text), dict)
    except yaml.YAMLError:
        is_whole = "<<<<<<< " in text
    if not is_whole:
        path.replace("dvc.lock.broken")
        say(
            "dvc",
            "dvc.lock broke off in the middle (killed while it was written): kept as dvc.lock.broken, steps run again",
        )


def _release_claims() -> None:
    """Remove DVC's list of who reads and writes what.

    DVC rewrites it in place, so a kill may leave half of it; it holds a lock whenever it reads it, so half a list is
    nobody's who still lives.
    """
    Path(".dvc/tmp/rwlock").unlink(missing_ok=True)


def _asked(question: Callable[[], Any]) -> Any:
    """Return what DVC answers; another dvc command that is at work is given a minute to end."""
    from dvc.exceptions import DvcException
    from dvc.lock import LockError
    from dvc.rwlock import RWLockFileCorruptedError

    for left in reversed(range(PATIENCE)):
        try:
            with stops_wait():  # DVC rewrites its files in place, and half of one is none
                return question()
        except LockError as error:  # DVC has waited 3 seconds by itself
            if not left:
                raise BusyError(
                    "another dvc command is at work in this repository; wait until it ends and run this again"
                ) from error
        except RWLockFileCorruptedError:
            _release_claims()
        except DvcException as error:
            raise DataError(f"DVC cannot tell what changed: {error}") from error
    raise BusyError("DVC cannot read .dvc/tmp/rwlock, again and again; remove that file and run this again")
