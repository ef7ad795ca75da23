"""Who decided what and why: one JSON line for each decision, only ever added to.

Each line carries a digest of the one before it, so that a line which was changed or taken out is noticed when it is read.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loramill.errors import DataError
from loramill.reports import disk_full_explained


def write_audit(path: Path, facts: Mapping[str, object]) -> dict[str, Any]:
    """Add a decision, with its moment; return the line.

    Raises:
        DiskFullError: the disk has no room; what was written before is untouched.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"), disk_full_explained(path):
        last = _lines(path)[-1:]
        line = {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            **facts,
            "after": _digest(last[0] if last else ""),
        }
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(line, ensure_ascii=False, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())
    return line


def read_audit(path: Path) -> list[dict[str, Any]]:
    """Return all decisions, the first one first; none if nothing was decided yet.

    Raises:
        DataError: a line was changed or taken out.
    """
    before = ""
    found = []
    for number, text in enumerate(_lines(path), start=1):
        line = _parsed(text)
        if line is None or line.get("after") != _digest(before):
            raise DataError(
                f"{str(path)!r} was changed at line {number} or the one before it: decisions are only ever added. "
                "MLflow holds the same ones as tags; compare, then move this file away"
            )
        found.append(line)
        before = text
    return found


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line] if path.is_file() else []


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) else None


def _digest(line: str) -> str:
    return hashlib.sha256(line.encode()).hexdigest()[:16]
