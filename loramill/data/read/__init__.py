"""Read what people have, whatever the format, and say of every file and row that is not read why not.

A reader is a function ``(raw, name, config) -> rows``: `dialogue` for text, `objects` for JSON, `tables` for CSV, `sheets` for
Excel and Parquet. `rows` turns an object or a table's row into a record, `turns` a list of messages. Nothing is read whole.
"""

from loramill.data.read.folder import SUFFIXES, read_folder, total_bytes

__all__ = ["SUFFIXES", "read_folder", "total_bytes"]
