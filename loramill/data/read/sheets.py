"""Tables that are no text: Excel workbooks and Parquet files, never unpacked further than a table may be large."""

import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from itertools import chain, islice
from typing import Any, BinaryIO

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.data.read.lines import shown, writable
from loramill.data.read.rows import (
    SEARCHED,
    above_header,
    column_names,
    find_header,
    looks_like_row,
    read_row,
    unknown_columns,
)
from loramill.records import Record

LARGEST = 2**29
"""Bytes that a workbook, or one group of a Parquet file's rows, may have when unpacked."""
SUSPICIOUS = 2**24
"""Below so many bytes nobody cares how well they are packed."""
DENSEST = 200
"""Bytes that one packed byte of a workbook may become; text becomes 5 to 20."""
BATCH = 1024
"""Rows of a Parquet file that are unpacked at once."""


def read_workbook(raw: BinaryIO, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    """Yield the rows of all sheets; a source is ``file[sheet]:row``."""
    import openpyxl

    try:
        bomb = _bomb(raw, name)
        if bomb:
            yield bomb
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about styles and drop-down lists, which no row has
            book = openpyxl.load_workbook(raw, read_only=True, data_only=True, keep_links=False)
            for sheet in book.worksheets:
                yield from _sheet(sheet, f"{name}[{writable(sheet.title)}]", config)
    except Exception as error:  # whatever a damaged file leads the library to
        yield _damaged(name, "an Excel workbook (.xlsx)", error)


def read_parquet(raw: BinaryIO, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    """Yield the rows of a Parquet file; a source is ``file:row``."""
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(raw)
        groups = [file.metadata.row_group(place) for place in range(file.metadata.num_row_groups)]
        if any(group.total_byte_size > LARGEST for group in groups):
            size = max(group.total_byte_size for group in groups)
            yield _too_large(name, f"a group of its rows has {size:,} bytes")
            return
        number = 0
        for batch in file.iter_batches(BATCH):
            if batch.nbytes > LARGEST:
                yield _too_large(f"{name}", f"{BATCH} of its rows have {batch.nbytes:,} bytes")
                return
            for row in batch.to_pylist():
                number += 1
                yield read_row(_texts(row), f"{name}:{number}", config, str(row)[:200])
    except Exception as error:  # whatever a damaged file leads the library to
        yield _damaged(name, "a Parquet file", error)


def _sheet(sheet: Any, name: str, config: ValidationConfig) -> Iterator[Record | Refused]:
    sheet.reset_dimensions()  # what the file declares may be a lie
    rows = (
        row for row in enumerate(sheet.iter_rows(values_only=True), start=1) if any(cell is not None for cell in row[1])
    )
    first = list(islice(rows, SEARCHED))
    names = [column_names(cells) for _, cells in first]
    place = find_header(names, config) or 0
    for number, cells in first[:place]:
        yield above_header(f"{name}:{number}", _shown(cells))
    header = names[place] if names else []
    if header and not looks_like_row(dict.fromkeys(header), config):
        yield unknown_columns(f"{name}:{first[place][0]}", header)
    for number, cells in chain(first[place + 1 :], rows):
        row = dict.fromkeys(header) | dict(
            zip(header, cells, strict=False)
        )  # a sheet's rows end with their last cell that is not empty
        yield read_row(_texts(row), f"{name}:{number}", config, _shown(cells))


def _shown(cells: Sequence[Any]) -> str:
    return shown(" ".join(str(cell) for cell in cells if cell is not None))


def _texts(row: Mapping[str, Any]) -> dict[str, Any]:
    """Write numbers and dates as a person reads them in the table."""
    return {key: _text(value) for key, value in row.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, float):
        return format(value, ".15g")
    return str(value) if isinstance(value, int | date | time) else value


def _bomb(raw: BinaryIO, name: str) -> Refused | None:
    """Refuse an archive that is made to be unpacked without end; ``zipfile`` unpacks no more than is declared."""
    with zipfile.ZipFile(raw) as archive:
        parts: Sequence[zipfile.ZipInfo] = archive.infolist()
    size, packed = sum(part.file_size for part in parts), sum(part.compress_size for part in parts)
    if size <= SUSPICIOUS or size <= min(LARGEST, DENSEST * packed):
        return None
    return _too_large(name, f"{packed:,} bytes unpack to {size:,}")


def _too_large(name: str, what: str) -> Refused:
    reason = (
        f"{what}, more than a table of rows may have ({LARGEST:,}, and of a workbook {DENSEST} times); save it as CSV"
    )
    return Refused(f"{name}:1", "too-large", reason)


def _damaged(name: str, what: str, error: Exception) -> Refused:
    detail = writable(str(error))[:120] or type(error).__name__
    return Refused(f"{name}:1", "damaged-file", f"cannot be read as {what}: {detail}; save it again, or as CSV")
