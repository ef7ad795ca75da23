"""Who decided what and why: one JSON line for each decision, only ever added to.

Each line carries a digest of the one before it, so that a line which was changed or taken out is noticed when it is read.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from loramill.errors import DataError
from loramill.reports import disk_full_explained

log = logging.getLogger("loramill")
BYTES: Final = "surrogateescape"
"""How bytes are read that are no text: a character that was cut in half stays what it is."""


def write_audit(path: Path, facts: Mapping[str, object]) -> dict[str, Any]:
    """Add a decision, with its moment; return the line.

    Raises:
        DiskFullError: the disk has no room; what was written before is untouched.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"), disk_full_explained(path):
        before = _text(path)
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
            "after": _digest(["", *_lines(before)][-1]),
        }
        start = "\n" if before and not before.endswith("\n") else ""  # a kill may have left half a line
        _append(path, f"{start}{json.dumps(line, ensure_ascii=False, default=str)}\n".encode())
    return line


def read_audit(path: Path) -> list[dict[str, Any]]:
    """Return all decisions, the first one first; none if nothing was decided yet.

    Half a line, which a kill left, is told and left out.

    Raises:
        DataError: a line was changed or taken out.
    """
    before = ""
    found = []
    text = _text(path)
    lines = _lines(text)
    for number, (this, following) in enumerate(zip_longest(lines, lines[1:]), start=1):
        line = _parsed(this)
        if line is None and _was_cut_off(this, following, text):
            log.warning("line %d of '%s' is half a line: the write was cut off, that decision is lost", number, path)
        elif line is None or line.get("after") != _digest(before):
            raise DataError(
                f"{str(path)!r} was changed at line {number} or the one before it: decisions are only ever added. "
                "MLflow holds the same ones as tags; compare, then move this file away"
            )
        else:
            found.append(line)
        before = this
    return found


def _append(path: Path, line: bytes) -> None:
    """Add a line whole or not at all."""
    with path.open("ab", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        try:
            while line:
                line = line[file.write(line) :]  # a disk that fills up takes a part, and refuses the rest
            os.fsync(file.fileno())
        except BaseException:
            file.truncate(size)
            raise


def _was_cut_off(line: str, following: str | None, text: str) -> bool:
    """Tell whether a line that is no JSON was so already when the next one was written, or is the last."""
    if following is None:
        return not text.endswith("\n")
    return (_parsed(following) or {}).get("after") == _digest(line)


def _text(path: Path) -> str:
    return path.read_bytes().decode(errors=BYTES) if path.is_file() else ""


def _lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode(errors=BYTES)).hexdigest()[:16]
