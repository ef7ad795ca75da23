"""Rows on disk while they are checked: a million of them pass through the memory of a thousand."""

import pickle
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Final, Self

from loramill.records import Record

IN_MEMORY: Final = 32 * 2**20
"""Bytes of rows that never touch the disk."""


class Spool:
    """Records in a file without a name: it is gone when the process is, however that ends."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self._file = SpooledTemporaryFile(max_size=IN_MEMORY, dir=None if folder is None else str(folder))  # noqa: SIM115 - closed by __exit__
        self._starts = array("Q")
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._starts)

    def add(self, record: Record) -> None:
        """Put a record behind the others."""
        self._file.seek(self._end)
        self._starts.append(self._end)
        pickle.dump(record, self._file, pickle.HIGHEST_PROTOCOL)
        self._end = self._file.tell()

    def __getitem__(self, place: int) -> Record:
        """Return the record at a place."""
        self._file.seek(self._starts[place])
        record = pickle.load(self._file)  # noqa: S301 - the file has no name: only this process can have written it
        assert isinstance(record, Record)
        return record

    def chunks(self, places: Iterable[int], size: int) -> Iterator[list[tuple[int, Record]]]:
        """Yield the records of some places, so many at a time."""
        chunk: list[tuple[int, Record]] = []
        for place in places:
            chunk.append((place, self[place]))
            if len(chunk) == size:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
