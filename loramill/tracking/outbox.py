"""What MLflow did not take: kept on disk, in order, until it answers again."""

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from loramill.reports import write_text
from loramill.tracking import store

log = logging.getLogger("loramill")
Send = Callable[[str, str, str, list[Any], dict[str, Any]], None]
"""Gives MLflow one entry: domain, run, method of the diary, its arguments."""
MOST_BYTES: Final = 50_000_000
"""Of one run no more is kept, and of one file."""
COPIES: Final = "files"
"""Folder of the files that wait."""
LOCK_SECONDS: Final = 10.0


def keep(domain: str, run: str, method: str, arguments: Sequence[object], named: Mapping[str, object]) -> None:
    """Put an entry into the box of its run; a disk that cannot take it does not stop the work."""
    path = _box() / f"{run}.jsonl"
    with suppress(OSError), _alone():
        if not path.is_file() or path.stat().st_size < MOST_BYTES:
            kept = list(arguments)
            if method == "file" and kept:
                kept[0] = _copied(Path(str(kept[0])))
            line = json.dumps([domain, method, kept, dict(named)], ensure_ascii=False, default=str)
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
            _take_out(path, done)
            if done < len(lines):
                break
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
        _drop_copy(line)
    return len(lines)


def _take_out(path: Path, count: int) -> None:
    """Take the first entries out of a box; what was kept while they were sent stays."""
    with _alone():
        left = [line for line in path.read_text(encoding="utf-8").split("\n") if line][count:]
        if left:
            write_text(path, (f"{line}\n" for line in left))
        else:
            path.unlink()


@contextmanager
def _alone() -> Iterator[None]:
    """Let one process or thread at a time change the boxes: never while something is sent, which may take minutes."""
    from filelock import FileLock

    _box().mkdir(parents=True, exist_ok=True)
    with FileLock(_box() / "box.lock", timeout=LOCK_SECONDS):
        yield


def _copied(path: Path) -> Path:
    """Return a copy in the box, as the next run writes its own over the file; what is too large or not there stays."""
    size = sum(file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")))
    if not path.exists() or size > MOST_BYTES:
        return path
    place = _box() / COPIES / uuid4().hex / path.name
    place.parent.mkdir(parents=True)
    return Path(shutil.copytree(path, place) if path.is_dir() else shutil.copy2(path, place))


def _drop_copy(line: str) -> None:
    """Delete the copy that an entry which is dealt with may have."""
    with suppress(ValueError, LookupError, TypeError):
        _, method, arguments, _ = json.loads(line)
        if method == "file" and (place := Path(arguments[0]).parent).parent == _box() / COPIES:
            shutil.rmtree(place, ignore_errors=True)


def _answers() -> bool:
    try:
        store.client().search_experiments(max_results=1)
    except Exception:
        return False
    return True


def _box() -> Path:
    """Return the folder of undelivered entries: one for each address of MLflow."""
    return Path("mlruns/outbox") / hashlib.sha256(store.tracking_uri().encode()).hexdigest()[:12]
