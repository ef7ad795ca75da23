"""Who is at work: locks that the kernel takes back when their process ends, however it ends."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from loramill.errors import BusyError

RUNS: Final = Path("artifacts/work/runs")
"""One file for each flow run that is at work, or was killed at work: see `flows.tend`."""


@contextmanager
def domain_lock(domain: str) -> Iterator[None]:
    """Hold a domain: two flows at once would overwrite each other's files.

    Raises:
        BusyError: another run holds it.
    """
    from filelock import FileLock, Timeout

    place = Path("artifacts") / domain / "work" / "at-work"
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(f"{place}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        who = place.read_text(encoding="utf-8") if place.is_file() else "another run"
        raise BusyError(
            f"{domain}: {who} is at work on it; nothing was done here. Run the same command again when that has ended"
        ) from error
    try:
        with suppress(OSError):  # on a full disk the work itself says so
            place.write_text(f"process {os.getpid()}, since {datetime.now():%H:%M:%S},", encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def at_work(run: str) -> Iterator[None]:
    """Show that a flow run is alive. Of a run that was killed or interrupted the file stays, and says that it was.

    Args:
        run: the Prefect flow run's id; an empty one, outside of Prefect, shows nothing.
    """
    from filelock import FileLock

    if not run:
        yield
        return
    RUNS.mkdir(parents=True, exist_ok=True)
    path = RUNS / f"{run}.lock"
    lock = FileLock(path)
    with lock:
        try:
            yield
        except Exception:
            path.unlink(missing_ok=True)
            raise
        path.unlink(missing_ok=True)


def dead_runs() -> list[str]:
    """Return the flow runs of this folder whose process is gone although they had not ended."""
    from filelock import FileLock, Timeout

    dead = []
    for path in sorted(RUNS.glob("*.lock")):
        lock = FileLock(path)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        lock.release()
        dead.append(path.stem)
    return dead


def bury(run: str) -> None:
    """Take a dead run off the list."""
    (RUNS / f"{run}.lock").unlink(missing_ok=True)
