"""A folder of rows: every file in it is read, or named with the reason why not."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import BinaryIO

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read import captions
from loramill.data.read.dialogue import read_dialogues
from loramill.data.read.lines import writable
from loramill.data.read.objects import read_objects
from loramill.data.read.sheets import read_parquet, read_workbook
from loramill.data.read.tables import read_table
from loramill.errors import DataError
from loramill.records import Record

Reader = Callable[[BinaryIO, str, ValidationConfig], Iterator[Record | Refused]]
SUFFIXES: Mapping[str, Reader] = {
    ".txt": read_dialogues,
    ".json": read_objects,
    ".jsonl": read_objects,
    ".ndjson": read_objects,
    ".csv": read_table,
    ".tsv": read_table,
    ".xlsx": read_workbook,
    ".xlsm": read_workbook,
    ".parquet": read_parquet,
}
"""What a file's ending says about how it is read; what its rows are called says the rest."""
ABOUT = re.compile(r"(README|LICENSE|LICENCE|NOTICE|SOURCE|CHANGELOG|COPYING)([-_.].*)?")
"""Files about the data, by the names that people give to nothing else."""
POINTER = b"version https://git-lfs.github.com/spec/"
PACKED = {".zip", ".gz", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".7z", ".rar"}
NEXT_MOVES: Mapping[str, str] = {
    **dict.fromkeys(PACKED, "unpack it here"),
    **dict.fromkeys((".xls", ".ods", ".numbers", ".et"), "save it as .xlsx or as CSV"),
    **dict.fromkeys(
        (".doc", ".docx", ".pdf", ".md", ".rtf", ".wps", ".html"), "write its rows as .txt dialogues or .csv"
    ),
    ".dvc": "`dvc pull` it, and keep its pointer outside",
}


def read_folder(
    folder: Path, config: ValidationConfig, on_bytes: Callable[[int], object] | None = None
) -> Iterator[Record | Refused]:
    """Read every file of a folder, in the order of their names, row by row.

    Args:
        folder: Where the rows lie; folders in it count.
        config: Role words, and columns that cannot be guessed.
        on_bytes: Is told how many more bytes of the files have been read; they add up to `total_bytes`.

    Returns:
        The rows, each read when it is asked for, and a refusal for each row and file that cannot be used.

    Raises:
        DataError: the folder is missing or holds no file that could have rows.
    """
    if not folder.is_dir():
        raise DataError(
            f"data folder {str(folder)!r} does not exist; put your rows there (.txt dialogues, .json, .jsonl, .csv). "
            "If the data lie in DVC, `dvc pull data.dvc` fetches them"
        )
    files = _files(folder)
    if not any(_reader(path) for path in files):
        raise DataError(f"data folder {str(folder)!r} is empty: it holds no {', '.join(SUFFIXES)} file to learn from")
    return _rows(folder, files, config, on_bytes or (lambda _: None))


def total_bytes(folder: Path) -> int:
    """Return the size of all files that `read_folder` would look into."""
    return sum(_size(path) for path in _files(folder))


def _rows(
    folder: Path, files: list[Path], config: ValidationConfig, on_bytes: Callable[[int], object]
) -> Iterator[Record | Refused]:
    answers = _answers(folder, files, config)
    for path in files:
        told = 0
        for row, place in _file(path, folder, config) if _real(path) not in answers else ():
            yield row
            if place > told:
                on_bytes(place - told)
                told = place
        on_bytes(max(0, _size(path) - told))


def _file(path: Path, folder: Path, config: ValidationConfig) -> Iterator[tuple[Record | Refused, int]]:
    """Yield the rows of one file, each with how far the file has been read; a file without rows is a refusal itself."""
    name = writable(path.relative_to(folder).as_posix())
    refused = _unsuitable(path, folder, name)
    if refused:
        yield refused, 0
        return
    found = False
    try:
        with path.open("rb") as raw:
            if raw.read(len(POINTER)) == POINTER:
                reason = "a pointer of Git LFS, and not the file itself; `git lfs pull` fetches that"
                yield Refused(f"{name}:1", "git-lfs-pointer", reason), 0
                return
            raw.seek(0)
            for row in _reader_of(path)(raw, name, config):
                found = True
                yield row, raw.tell() if not raw.closed else 0
    except OSError as error:
        yield Refused(f"{name}:1", "unreadable", f"cannot be read: {error.strerror}; mend it or take it away"), 0
        return
    if not found:
        yield Refused(f"{name}:1", "empty-file", "holds no row; fill it or take it away"), 0


def _reader(path: Path) -> Reader | None:
    return SUFFIXES.get(path.suffix.lower())


def _reader_of(path: Path) -> Reader:
    if path.name.lower() == captions.NAME:
        return partial(captions.read_captions, folder=path.parent)
    return SUFFIXES[path.suffix.lower()]


def _files(folder: Path) -> list[Path]:
    """Return all files, links and whatever else lies in a folder, but what is hidden or only about the data."""
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        found += [Path(place) / name for name in (*names, *links) if not name.startswith((".", "~$"))]
    return sorted(path for path in found if not _is_about(path))


def _is_about(path: Path) -> bool:
    return path.suffix.lower() in {"", ".txt", ".md", ".rst"} and ABOUT.fullmatch(path.stem) is not None


def _unsuitable(path: Path, folder: Path, name: str) -> Refused | None:
    """Refuse what is no file of rows, before anybody opens it: opening a pipe would wait for ever."""
    source = f"{name}:1"
    if path.is_symlink() and not _real(path).is_relative_to(_real(folder)):
        reason = f"a link that leads out of {folder.name!r}; put the file itself here (DVC: cache.type copy)"
        return Refused(source, "leads-out", reason)
    if not path.is_file():
        return Refused(source, "not-a-file", "neither a file nor a folder of files; take it away")
    if _reader(path) is None:
        move = NEXT_MOVES.get(path.suffix.lower(), "take it away, or write its rows as .jsonl or .csv")
        return Refused(source, "unknown-format", f"no rows are read from {path.suffix or 'such'} files; {move}")
    return None


def _answers(folder: Path, files: list[Path], config: ValidationConfig) -> set[Path]:
    tables = [path for path in files if path.name.lower() == captions.NAME and not _unsuitable(path, folder, "")]
    found: set[Path] = set()
    for path in tables:
        try:
            found |= captions.captioned_files(path, config)
        except OSError:
            continue  # said again, and reported, when its turn comes
    return found


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike `Path.resolve`, raises nothing for a link to itself


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:
        return 0
