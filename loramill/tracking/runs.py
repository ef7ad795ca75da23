"""The diary: what MLflow is told about a run. Whatever it refuses becomes a warning; a training is worth more."""

import functools
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, cast

from loramill.reports import stops_wait
from loramill.tracking import outbox, store

log = logging.getLogger("loramill")
P = ParamSpec("P")
SLOW_SECONDS: Final = 2.0
"""A refusal that took longer makes the work wait."""
PAUSE_SECONDS: Final = 60.0
"""So long nothing is asked after such a refusal: what is written meanwhile waits on disk, and no step waits for it."""


_left_alone: Final[dict[str, float]] = {}
"""By MLflow's address: until when (`time.monotonic`) nothing is asked there."""


def _tolerant(method: Callable[Concatenate["Diary", P], None]) -> Callable[Concatenate["Diary", P], bool]:
    """Turn a failure to write into a warning, and say whether it was written; a silent diary writes nothing."""

    @functools.wraps(method)
    def write(diary: "Diary", /, *args: P.args, **kwargs: P.kwargs) -> bool:
        if not diary.run_id:
            return False
        began = time.monotonic()
        try:
            if began < _left_alone.get(store.tracking_uri(), 0.0):
                raise TimeoutError("it made the work wait a moment ago, and is left alone")
            with stops_wait():
                method(diary, *args, **kwargs)
        except Exception as error:  # whatever MLflow, its database or the disk raise
            _leave_alone_if_slow(time.monotonic() - began)
            log.warning("the diary missed an entry (%s): %s", method.__name__, store.first_line(error))
            outbox.keep(diary.domain, diary.run_id, method.__name__, args, kwargs)
            return False
        return True

    return cast(Callable[Concatenate["Diary", P], bool], write)


def _leave_alone_if_slow(seconds: float) -> None:
    """Begin a pause after a refusal that took so long: a locked database takes 20 s to refuse one entry."""
    if seconds > SLOW_SECONDS:
        _left_alone[store.tracking_uri()] = time.monotonic() + PAUSE_SECONDS


@dataclass(frozen=True)
class Diary:
    """What is written about one run; an empty ``run_id`` writes nothing."""

    domain: str
    run_id: str = ""

    @_tolerant
    def note(self, tags: Mapping[str, object]) -> None:
        """Write tags."""
        for key, value in tags.items():
            store.client().set_tag(self.run_id, key, str(value))

    @_tolerant
    def settings(self, values: Mapping[str, object]) -> None:
        """Write parameters; a nested mapping becomes dotted names."""
        for key, value in _flat(values):
            store.client().log_param(self.run_id, key, str(value)[:6000])

    @_tolerant
    def metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Write one number for each name."""
        for key, value in values.items():
            store.client().log_metric(self.run_id, key, float(value), step=step)

    @_tolerant
    def curve(self, name: str, values: Sequence[float] | Mapping[int, float]) -> None:
        """Write a whole curve at once, one value per step from 0, or a part of it by step."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = values.items() if isinstance(values, Mapping) else enumerate(values)
        entries = [Metric(name, float(value), now, step) for step, value in points]
        for start in range(0, len(entries), 1000):
            store.client().log_batch(self.run_id, metrics=entries[start : start + 1000])

    @_tolerant
    def table(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Add rows to a table that MLflow shows and compares between runs."""
        columns = {key: [row[key] for row in rows] for key in rows[0]}
        store.client().log_table(self.run_id, columns, f"{name}.json")

    @_tolerant
    def file(self, path: Path, folder: str = "") -> None:
        """Store a file or a whole folder among the run's artifacts."""
        keep = store.client().log_artifacts if path.is_dir() else store.client().log_artifact
        keep(self.run_id, str(path), folder or None)

    @contextmanager
    def child(self, name: str) -> Iterator["Diary"]:
        """Open a run below this one."""
        if not self.run_id:
            yield self
            return
        with _run(self.domain, name, {"mlflow.parentRunId": self.run_id}) as diary:
            yield diary


_SILENT: Final = Diary("unnamed")
_current: ContextVar[Diary] = ContextVar("diary", default=_SILENT)


def diary() -> Diary:
    """Return the diary that is open here; a silent one if none is."""
    return _current.get()


@contextmanager
def open_diary(domain: str, name: str, tags: Mapping[str, object]) -> Iterator[Diary]:
    """Open a run in the domain's experiment and make it `diary()` until the block ends.

    An exception ends the run as FAILED, an interruption as KILLED. What MLflow missed while it was away is given to it then.
    """
    try:
        with _run(domain, name, tags) as opened:
            token = _current.set(opened)
            try:
                yield opened
            finally:
                _current.reset(token)
    finally:
        outbox.deliver(_send)


@contextmanager
def continue_diary(domain: str, run_id: str) -> Iterator[Diary]:
    """Make a run that another process opened, and will end, `diary()` until the block ends."""
    token = _current.set(Diary(domain, run_id))
    try:
        yield _current.get()
    finally:
        _current.reset(token)


@contextmanager
def _run(domain: str, name: str, tags: Mapping[str, object]) -> Iterator[Diary]:
    opened = _started(domain, name, tags)
    status = "FAILED"
    try:
        yield opened
        status = "FINISHED"
    except (KeyboardInterrupt, SystemExit):
        status = "KILLED"
        raise
    finally:
        _ended(opened, status)


def _started(domain: str, name: str, tags: Mapping[str, object]) -> Diary:
    try:
        here = {"domain": domain, "host": socket.gethostname(), "pid": str(os.getpid())}
        plain = here | {key: str(value) for key, value in tags.items()}
        with stops_wait():
            run = store.client().create_run(store.experiment(domain), tags=plain, run_name=name)
        return Diary(domain, run.info.run_id)
    except Exception as error:  # tracking must not stop the work
        log.warning("no diary for this run, the work goes on without it: %s", store.first_line(error))
        return Diary(domain)


@_tolerant
def _ended(opened: Diary, status: str) -> None:
    store.client().set_terminated(opened.run_id, status=status)


def _send(domain: str, run: str, method: str, arguments: list[Any], named: dict[str, Any]) -> None:
    """Write an entry that MLflow missed earlier."""
    if method == "curve" and isinstance(arguments[1], dict):  # JSON knows no numbers as keys
        arguments = [arguments[0], {int(step): value for step, value in arguments[1].items()}]
    if method == "file":
        arguments = [Path(arguments[0]), *arguments[1:]]
    write: Any = _ended if method == _ended.__name__ else getattr(Diary, method)
    write.__wrapped__(Diary(domain, run), *arguments, **named)


def _flat(values: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value
