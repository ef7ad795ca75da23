"""Step ``split``: clean records in; train, validation and test out, by content and for ever."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import SplitConfig
from loramill.data.findings import Refused
from loramill.data.ledger import PARTS, read_ledger, write_ledger
from loramill.data.split import Split, check_parts, split_records
from loramill.errors import DataError
from loramill.records import read_records, write_records
from loramill.reports import restore_folder, write_folder, write_json
from loramill.tracking import diary
from tasks.pages import write_data_page
from tasks.progress import say
from tasks.stage import run_as_stage

SHOWN = 3
"""Refused rows that are said; the report names all."""


@task(name="split", cache_policy=NO_CACHE)
def split(config: SplitConfig, records: Path, out: Path, report: Path) -> Path:
    """Leave ``train.jsonl``, ``validation.jsonl``, ``test.jsonl`` and the ledger of all places in ``out``.

    Rows that are nearly a test row, today's or an earlier one, are refused: ``report`` lists them.

    Raises:
        DataError: too few rows in a part, or a damaged ledger; what lay in ``out`` stays as it was.
    """
    clean = read_records(records)
    restore_folder(out)
    ledger = read_ledger(out, clean)
    found = split_records(clean, config, ledger)
    counts = {part: len(found.parts[part]) for part in PARTS}
    new = sum(record.id not in ledger.places for part in PARTS for record in found.parts[part])
    fault = _fault(found, config)
    stopped = {"kind": "small-part", "reason": str(fault)} if fault else None
    told = {"stopped": stopped, "rows": counts, "new": new, "refused": [vars(row) for row in found.refused]}
    write_json(report, told)
    _say_refused(found.refused, report)
    page = write_data_page(report.parent, clean, found.parts, told)
    if fault:
        raise fault

    def fill(folder: Path) -> None:
        for part in PARTS:
            write_records(folder / f"{part}.jsonl", found.parts[part])
        write_ledger(folder, found.ledger)

    write_folder(out, fill)
    diary().metrics({f"rows.{part}": count for part, count in counts.items()})
    say("split", ", ".join(f"{count} {part}" for part, count in counts.items()) + f" (the rows as a page: {page})")
    return out


def _fault(found: Split, config: SplitConfig) -> DataError | None:
    try:
        check_parts(found.parts, config, found.largest)
    except DataError as error:
        return error
    return None


def _say_refused(refused: Sequence[Refused], report: Path) -> None:
    for rule, count in Counter(row.rule for row in refused).items():
        say("split", f"{count} refused ({rule}), each with its reason in {report}")
    for row in refused[:SHOWN]:
        say("split", f"{row.source}: {row.reason}")


if __name__ == "__main__":
    run_as_stage(split)
