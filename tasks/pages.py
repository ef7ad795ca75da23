"""The page about a domain's rows that a domain expert opens: written whenever there is something new to say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from loramill.data.ledger import Part
from loramill.records import Record
from loramill.reports import read_json, write_text
from loramill.tracking import diary

PAGE: Final = "data.html"


def write_data_page(
    reports: Path, records: Sequence[Record], parts: Mapping[Part, Sequence[Record]], split: Mapping[str, Any]
) -> Path:
    """Write ``data.html`` beside the reports of ``validate`` and ``split``, and log it.

    Args:
        reports: ``artifacts/<domain>/reports``.
        records: the clean rows.
        parts: them by train, validation and test; empty when it did not come to that.
        split: what ``split.json`` says; empty when it did not come to that.
    """
    from loramill.data.page import data_page

    checked = reports / "validate.json"
    validate = read_json(checked) if checked.is_file() else {}
    named = {str(part): rows for part, rows in parts.items()}
    page = write_text(reports / PAGE, data_page(reports.parent.name, records, named, validate, split))
    diary().file(page, "reports")
    return page
