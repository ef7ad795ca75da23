"""Step ``validate``: raw rows in, clean records out, every dropped, changed or doubtful row with its reason."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import ValidationConfig
from loramill.data.findings import Refused
from loramill.errors import DataError
from loramill.records import Record, write_records
from loramill.reports import write_json, write_text
from loramill.tracking import diary
from tasks.pages import write_data_page
from tasks.progress import bar, say
from tasks.stage import run_as_stage

if TYPE_CHECKING:
    from tqdm import tqdm

    from loramill.data.acceptance import Objection
    from loramill.data.contract import Outcome
    from loramill.data.spool import Spool

EXPORT: Final = "dropped.csv"
PAGE_ROWS: Final = 20_000
"""Kept rows that the page is made of where the step stops; where it goes on, `split` makes it of all."""


@task(name="validate", cache_policy=NO_CACHE)
def validate(config: ValidationConfig, data: Path, out: Path, report: Path) -> Path:
    """Read the rows of ``data``, hold them against the contract, and leave clean records in ``out``.

    Besides ``report``, the dropped rows are left as ``dropped.csv`` for a person to mend. Where the step stops, it leaves the
    page for the domain expert, which otherwise `split` does.

    Raises:
        DataError: nothing readable, too few rows, or too many broken ones; ``report`` lists them all the same.
    """
    from loramill.data.acceptance import objection
    from loramill.data.contract import check_rows, kept_records
    from loramill.data.expectations import open_judge
    from loramill.data.export import dropped_csv
    from loramill.data.spool import Spool

    out.parent.mkdir(parents=True, exist_ok=True)
    with Spool(out.parent) as spool:
        with _checking(spool) as on_rows:
            outcome = check_rows(_reading(config, data), config, spool, open_judge, on_rows)
        objected = objection(outcome, config, str(report))
        write_json(report, _told(outcome, objected))
        write_text(report.with_name(EXPORT), dropped_csv(outcome, spool))
        diary().file(report, "reports")
        if objected:
            page = write_data_page(report.parent, list(islice(kept_records(outcome, spool), PAGE_ROWS)), {}, {})
            say("validate", f"every reason in plain words: {page}")
            raise DataError(objected.reason)
        write_records(out, kept_records(outcome, spool))
    dropped, warned = len(outcome.dropped), len(outcome.warned)
    tail = f", {warned} warnings (reasons in {report})" if dropped or warned else ""
    say("validate", f"{len(outcome.kept)} rows kept, {dropped} dropped{tail}")
    return out


def _reading(config: ValidationConfig, data: Path) -> Iterator[Record | Refused]:
    from loramill.data.read import read_folder, total_bytes

    with bar("validate", total_bytes(data) if data.is_dir() else 0, "bytes read") as shown:
        shown.unit_scale = True
        yield from read_folder(data, config, on_bytes=shown.update)


@contextmanager
def _checking(spool: "Spool") -> Iterator[Callable[[int], object]]:
    """Show a bar of checked rows from the moment when their number is known."""
    with ExitStack() as stack:
        shown: list[tqdm[None]] = []  # none while the rows are being read

        def on_rows(count: int) -> None:
            if not shown:
                shown.append(stack.enter_context(bar("validate", len(spool), "rows checked")))
            shown[0].update(count)

        yield on_rows


def _told(outcome: "Outcome", objected: "Objection | None") -> dict[str, Any]:
    return {
        "stopped": objected,
        "read": outcome.read,
        "kept": len(outcome.kept),
        "files": [{"file": file, **counts} for file, counts in outcome.files.items()],
        "reasons": outcome.reasons,
        "dropped": outcome.dropped,
        "changed": outcome.changed,
        "warned": outcome.warned,
        "expectations": outcome.expectations,
    }


if __name__ == "__main__":
    run_as_stage(validate)
