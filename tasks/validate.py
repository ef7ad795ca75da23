"""Step ``validate``: raw rows in, clean records out, every dropped row with its reason."""

from collections import Counter
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import ValidationConfig
from loramill.errors import DataError
from loramill.records import Record, write_records
from loramill.reports import write_json
from loramill.tracking import diary
from tasks.progress import say
from tasks.stage import run_as_stage


@task(name="validate", cache_policy=NO_CACHE)
def validate(config: ValidationConfig, data: Path, out: Path, report: Path) -> Path:
    """Read the rows of ``data``, hold them against the contract, and leave clean records in ``out``.

    Raises:
        DataError: nothing readable, too few rows, or too many broken ones; ``report`` lists them all the same.
    """
    from loramill.data.expectations import apply_contract
    from loramill.data.read import read_folder

    records, unreadable = read_folder(data, config)
    kept, broken, verdicts = apply_contract(records, config)
    dropped = [*unreadable, *broken]
    content = {
        "read": len(records) + len(unreadable),
        "kept": len(kept),
        "dropped": [vars(row) for row in dropped],
        "reasons": dict(Counter(row.reason for row in dropped).most_common()),
        "expectations": [{**verdict, "rows": len(verdict["rows"])} for verdict in verdicts],
    }
    write_json(report, content)
    diary().file(report, "reports")
    _check(config, kept, len(records) + len(unreadable), report)
    say("validate", f"{len(kept)} rows kept, {len(dropped)} dropped" + (f" (reasons in {report})" if dropped else ""))
    return write_records(out, kept)


def _check(config: ValidationConfig, kept: list[Record], read: int, report: Path) -> None:
    dropped = read - len(kept)
    if len(kept) < config.min_rows:
        raise DataError(
            f"{len(kept)} usable rows of {read}, validation.min_rows asks for {config.min_rows}; "
            f"{report} names every dropped row. Mend those or write more"
        )
    if dropped > config.max_dropped * read:
        raise DataError(
            f"{dropped} of {read} rows were dropped, more than validation.max_dropped allows ({config.max_dropped:.0%}); "
            f"{report} names each with its reason. Mend them, or raise the share if that is as it should be"
        )


if __name__ == "__main__":
    run_as_stage(validate)
