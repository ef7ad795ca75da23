"""What MLflow did not take: kept on disk, in order, until it answers again."""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from loramill.reports import write_text
from loramill.tracking import store

log = logging.getLogger("loramill")
Send = Callable[[str, str, str, list[Any], dict[str, Any]], None]
"""Gives MLflow one entry: domain, run, method of the diary, its arguments."""
MOST_BYTES: Final = 50_000_000
"""Of one run no more is kept."""


def keep(domain: str, run: str, method: str, arguments: Sequence[object], named: Mapping[str, object]) -> None:
    """Put an entry into the box of its run; a disk that cannot take it does not stop the work."""
    line = json.dumps([domain, method, list(arguments), dict(named)], ensure_ascii=False, default=str)
    path = _box() / f"{run}.jsonl"
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.stat().st_size < MOST_BYTES:
            with path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(f"{line}\n")


def deliver(send: Send) -> int:
    """Give MLflow what it did not take, the oldest first; return how many entries it took.

    It stops when MLflow is away again. An entry that MLflow refuses although it answers is dropped: it would hold up the rest.
    """
    if not _box().is_dir():
        return 0
    from filelock import FileLock, Timeout

    taken = 0
    with suppress(OSError, Timeout), FileLock(_box() / "delivery.lock", blocking=False):
        for path in sorted(_box().glob("*.jsonl")):
            lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
            done = _delivered(path.stem, lines, send)
            taken += done
            if done < len(lines):
                write_text(path, (f"{line}\n" for line in lines[done:]))
                break
            path.unlink()
    if taken:
        log.warning("MLflow answers again: it was given %d entries that it had missed", taken)
    return taken


def _delivered(run: str, lines: Sequence[str], send: Send) -> int:
    """Return how many lines from the first on are dealt with."""
    for place, line in enumerate(lines):
        try:
            domain, method, arguments, named = json.loads(line)
            send(domain, run, method, arguments, named)
        except Exception as error:  # whatever MLflow raises
            if not _answers():
                return place
            log.warning("the diary lost an entry: %s", store.first_line(error))
    return len(lines)


def _answers() -> bool:
    try:
        store.client().search_experiments(max_results=1)
    except Exception:
        return False
    return True


def _box() -> Path:
    """Return the folder of undelivered entries: one for each address of MLflow."""
    return Path("mlruns/outbox") / hashlib.sha256(store.tracking_uri().encode()).hexdigest()[:12]
