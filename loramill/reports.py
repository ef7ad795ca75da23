"""Files that are either there whole or not at all.

Everything loramill leaves on disk goes through here: written beside its place, flushed, then renamed, so that a kill at any
moment leaves the old version or the new one.
"""

import errno
import hashlib
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from loramill.errors import DiskFullError


def write_text(path: Path, text: str | Iterable[str]) -> Path:
    """Replace ``path`` by ``text``, whole or in parts, in one step.

    Raises:
        DiskFullError: the disk has no room; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    with disk_full_explained(path):
        try:
            with beside.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines([text] if isinstance(text, str) else text)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    return path


def write_json(path: Path, content: object) -> Path:
    """Replace ``path`` by ``content`` as readable JSON; Chinese stays Chinese, a dataclass is its fields."""
    parts = json.JSONEncoder(ensure_ascii=False, indent=2, default=_plainly).iterencode(content)
    return write_text(path, chain(parts, "\n"))  # in parts: as one text, a report on a million rows takes a gigabyte


def _plainly(value: object) -> object:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return str(value)


def read_json(path: Path) -> Any:
    """Return the parsed content of ``path``."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_folder(path: Path, fill: Callable[[Path], object]) -> Path:
    """Let ``fill`` write into a fresh folder, then put that folder in the place of ``path``.

    Raises:
        DiskFullError: the disk has no room; the old folder is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{uuid4().hex[:8]}")
    old = path.with_name(f".{path.name}.old")
    with disk_full_explained(path):
        try:
            beside.mkdir()
            fill(beside)
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                path.rename(old)
            beside.rename(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return path


def restore_folder(path: Path) -> bool:
    """Bring ``path`` back if a kill fell between the two renames of `write_folder`; tell whether it is there now."""
    old = path.with_name(f".{path.name}.old")
    if not path.exists() and old.exists():
        old.rename(path)
    return path.exists()


def digest_of_file(path: Path) -> str:
    """Return the sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_files(paths: list[Path]) -> str:
    """Return one sha256 over the names and bytes of several files, whatever their order."""
    lines = sorted(f"{path.name}:{digest_of_file(path)}" for path in paths)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@contextmanager
def disk_full_explained(path: Path) -> Iterator[None]:
    """Turn any writer's way of saying that the disk of ``path`` is full into a `DiskFullError`."""
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        if not _is_disk_full(error):
            raise
        free = shutil.disk_usage(path if path.is_dir() else path.parent).free
        message = (
            f"no room to write {str(path)!r}: {free / 1e6:.0f} MB are free on its disk. "
            "Nothing was lost: free some space and run the same command again, it continues."
        )
        raise DiskFullError(errno.ENOSPC, message) from error


def _is_disk_full(error: Exception) -> bool:
    """Some writers, safetensors and SQLite among them, say it in words only."""
    said = ("No space left on device", "database or disk is full")
    number = error.errno if isinstance(error, OSError) else None
    return number in {errno.ENOSPC, errno.EDQUOT} or any(words in str(error) for words in said)


@contextmanager
def stops_wait() -> Iterator[None]:
    """Let Ctrl-C and a wish to end wait until the block is over: what it writes in place, or in a database, is there or not.

    A library that is interrupted half-way leaves half a file, or a transaction that locks everybody out.
    """
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
