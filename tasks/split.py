"""Step ``split``: clean records in; train, validation and test out, by content and for ever."""

from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import SplitConfig
from loramill.data.split import PARTS, Part, split_records
from loramill.records import read_records, write_records
from loramill.reports import read_json, restore_folder, write_folder, write_json
from loramill.tracking import diary
from tasks.progress import say
from tasks.stage import run_as_stage


@task(name="split", cache_policy=NO_CACHE)
def split(config: SplitConfig, records: Path, out: Path, report: Path) -> Path:
    """Leave ``train.jsonl``, ``validation.jsonl``, ``test.jsonl`` and the ledger of all places in ``out``.

    Raises:
        DataError: too few test rows to decide anything.
    """
    clean = read_records(records)
    restore_folder(out)
    ledger: dict[str, Part] = read_json(out / "ledger.json") if (out / "ledger.json").is_file() else {}
    parts = split_records(clean, config, ledger)
    places = {record.id: part for part in PARTS for record in parts[part]}

    def fill(folder: Path) -> None:
        for part in PARTS:
            write_records(folder / f"{part}.jsonl", parts[part])
        write_json(folder / "ledger.json", ledger | places)

    write_folder(out, fill)
    counts = {part: len(parts[part]) for part in PARTS}
    write_json(report, {"rows": counts, "new": sum(id not in ledger for id in places)})
    diary().metrics({f"rows.{part}": count for part, count in counts.items()})
    say("split", ", ".join(f"{count} {part}" for part, count in counts.items()))
    return out


if __name__ == "__main__":
    run_as_stage(split)
