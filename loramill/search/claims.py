"""Who works on which trial: one row per trial in the study's own database, taken by whoever writes it first.

A worker shows that it lives by counting up. Others take its trials over when it is known to be dead (same machine, process
gone) or when its count has stood still, by their own clock, for `search.takeover_seconds`: no two clocks need to agree.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import Column, ColumnElement, Engine, Integer, MetaData, String, Table, and_, insert, select, update
from sqlalchemy.exc import IntegrityError

_CLAIMS = Table(
    "loramill_claims",
    MetaData(),
    Column("study", String(128), primary_key=True),
    Column("trial", Integer, primary_key=True),
    Column("worker", String(256), nullable=False),
    Column("beat", Integer, nullable=False),
)


@dataclass(frozen=True)
class Claim:
    """One trial's worker."""

    trial: int
    worker: str
    beat: int


class Claims:
    """The claims of one study, as one worker sees them."""

    def __init__(self, engine: Engine, study: str, patience: float) -> None:
        self._engine, self._study, self._patience = engine, study, patience
        self.worker = f"{socket.gethostname()}:{os.getpid()}:{_started(os.getpid())}:{uuid4().hex[:8]}"
        self._seen: dict[int, tuple[Claim, float]] = {}
        self._beaten = time.monotonic()
        _CLAIMS.metadata.create_all(engine)

    def take(self, trial: int) -> bool:
        """Claim a trial that nobody has; one of several workers succeeds."""
        try:
            with self._engine.begin() as connection:
                connection.execute(insert(_CLAIMS).values(study=self._study, trial=trial, worker=self.worker, beat=0))
        except IntegrityError:
            return False
        return True

    def take_over(self, claim: Claim) -> bool:
        """Claim a dead worker's trial; one of several workers succeeds."""
        same = and_(self._mine(claim.worker), _CLAIMS.c.trial == claim.trial, _CLAIMS.c.beat == claim.beat)
        with self._engine.begin() as connection:
            changed = connection.execute(update(_CLAIMS).where(same).values(worker=self.worker, beat=claim.beat + 1))
        return changed.rowcount == 1

    def beat(self) -> None:
        """Show that this worker lives; cheap to call often."""
        if time.monotonic() - self._beaten < self._patience / 10:
            return
        with self._engine.begin() as connection:
            connection.execute(update(_CLAIMS).where(self._mine(self.worker)).values(beat=_CLAIMS.c.beat + 1))
        self._beaten = time.monotonic()

    def all(self) -> dict[int, Claim]:
        """Return every claim by trial."""
        columns = select(_CLAIMS.c.trial, _CLAIMS.c.worker, _CLAIMS.c.beat).where(_CLAIMS.c.study == self._study)
        with self._engine.connect() as connection:
            return {row.trial: Claim(row.trial, row.worker, row.beat) for row in connection.execute(columns)}

    def is_dead(self, claim: Claim) -> bool:
        """Tell whether nobody works on a trial any more."""
        if claim.worker == self.worker:
            return False
        known, since = self._seen.get(claim.trial, (None, 0.0))
        if known != claim:
            since = time.monotonic()
            self._seen[claim.trial] = (claim, since)
        return _is_gone(claim.worker) or time.monotonic() - since > self._patience

    def _mine(self, worker: str) -> ColumnElement[bool]:
        return and_(_CLAIMS.c.study == self._study, _CLAIMS.c.worker == worker)


def _is_gone(worker: str) -> bool:
    """Tell whether a worker ran on this machine and does no longer."""
    host, process, started, _ = worker.rsplit(":", 3)
    return host == socket.gethostname() and started != "" and _started(int(process)) != started


def _started(process: int) -> str:
    """Return when a process of this machine was started, in the kernel's ticks; nothing where that cannot be told."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[19]
    except OSError:
        return "gone" if Path("/proc/self/stat").exists() else ""


@contextmanager
def place_of_own(folder: Path) -> Iterator[Path]:
    """Give a folder for checkpoints that no other living worker uses; after a kill the same command gets the same one."""
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while True:
        place = folder / ("checkpoint" if number == 0 else f"checkpoint-{number}")
        lock = FileLock(place.with_suffix(".lock"))
        try:
            with lock.acquire(timeout=0):
                yield place
                return
        except Timeout:
            number += 1
