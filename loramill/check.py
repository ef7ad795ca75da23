"""``loramill check``: gathers what the pre-flight needs from the rooms, runs it, and shows what it found."""

import json
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import stdev
from typing import Any, Final

from loramill.config import Plan, Settings, domain_file, load_plan, read_settings
from loramill.errors import DataError, LoramillError
from loramill.preflight.base import Earlier
from loramill.preflight.forecast import Speed
from loramill.preflight.report import Report
from loramill.preflight.run import Past, Rows, preflight
from loramill.records import Record, read_records
from loramill.reports import read_json, write_text

PROBE_SECONDS: Final = 0.3
"""Time spent on measuring the machine."""


def check_domain(domain: str) -> tuple[Report, Plan, Path]:
    """Run a domain's pre-flight and write its page; return both and the plan.

    Raises:
        ConfigError: the domain's files are wrong.
        BaseModelError: the base cannot be found.
        DataError: there is nothing to read.
    """
    from loramill.pack.facts import read_facts
    from loramill.preflight.page import page

    plan, place = load_plan(domain_file(domain)), Path("artifacts") / domain
    rows = _rows(plan, domain, place)
    report = preflight(domain, plan, read_facts(plan.base), rows, _past(plan, place), _speed(plan, place))
    written = write_text(place / "reports" / "check.html", page(report, plan.evaluate.significance))
    return report, plan, written


def show_json(report: Report, page: Path) -> None:
    """Print everything that was found as one JSON object."""
    sys.stdout.write(json.dumps(report.facts() | {"page": str(page)}, ensure_ascii=False, indent=2) + "\n")


def show_terminal(report: Report, plan: Plan, page: Path, rows: int) -> None:
    """Print rows, plan, problems and verdict for a person."""
    from rich.console import Console

    from loramill.preflight.view import show

    console = Console()
    show(report, plan.evaluate.significance, rows, console)
    console.print(f"every row in colour: {page}", style="dim")


def write_data_docs(domain: str, plan: Plan) -> Path:
    """Leave Great Expectations' own pages about the domain's rows; return the first one. They load files from the network."""
    from loramill.data.contract import build_data_docs
    from loramill.data.read import read_folder

    rows = read_folder(Path("data") / domain, plan.validation)
    return build_data_docs(rows, plan.validation, Path("artifacts") / domain / "reports" / "data-docs")


def _rows(plan: Plan, domain: str, place: Path) -> Rows:
    records, listed, objected = _records(plan, Path("data") / domain, place)
    if not records:
        return Rows((), {}, listed, objected or f"no row is left of data/{domain}")
    from loramill.data.ledger import read_ledger
    from loramill.data.split import check_parts, split_records

    found = split_records(records, plan.split, read_ledger(place / "splits", records))
    parts = {str(part): of for part, of in found.parts.items()}
    try:
        check_parts(found.parts, plan.split, found.largest)
    except DataError as error:
        return Rows(records, parts, listed, objected or str(error))
    return Rows(records, parts, listed + len(found.refused), objected or None)


def _records(plan: Plan, data: Path, place: Path) -> tuple[list[Record], int, str]:
    """Return clean rows, how many were dropped, and why ``validate`` would stop.

    The rows are those that ``validate`` left if nothing changed since, else they are read anew.
    """
    clean, report = place / "records.jsonl", place / "reports" / "validate.json"
    if _is_newer(clean, [*data.rglob("*"), *Path("conf").rglob("*.yaml")]) and report.is_file():
        told = read_json(report)
        return read_records(clean), int(told["read"]) - int(told["kept"]), ""
    from loramill.data.acceptance import objection
    from loramill.data.contract import check_rows, kept_records
    from loramill.data.expectations import judge_plainly
    from loramill.data.read import read_folder
    from loramill.data.spool import Spool

    with Spool() as spool:
        outcome = check_rows(read_folder(data, plan.validation), plan.validation, spool, judge_plainly)
        objected = objection(outcome, plan.validation, "the step validate (`dvc repro` runs it)")
        return list(kept_records(outcome, spool)), len(outcome.dropped), objected.reason if objected else ""


def _is_newer(path: Path, than: Iterable[Path]) -> bool:
    others = [other.stat().st_mtime for other in than if other.is_file()]
    return path.is_file() and bool(others) and path.stat().st_mtime > max(others)


def _past(plan: Plan, place: Path) -> Past:
    settings = place / "settings.yaml"
    return Past(_earlier(plan, place), _found(settings), _spread(place / "scores.json"))


def _found(settings: Path) -> Settings | None:
    try:
        return read_settings(settings)
    except LoramillError:
        return None  # the search will find new ones


def _earlier(plan: Plan, place: Path) -> Earlier | None:
    """Read which template the last adapter learnt; a damaged one is the training's affair."""
    named = plan.train.start_from not in {"last", "scratch"}
    folder = Path(plan.train.start_from) if named else place / "adapter"
    manifest = _json(folder / "loramill.json")
    digest = manifest.get("template_digest")
    return Earlier(str(folder), str(digest), named) if digest else None


def _spread(scores: Path) -> float | None:
    content = _json(scores)
    reference = "champion" if content.get("champion") else "base"
    rows = [row for row in content.get("per_row", ()) if {reference, "challenger"} <= row.keys()]
    gains = [row[reference] - row["challenger"] for row in rows]
    return stdev(gains) if len(gains) > 1 else None


def _json(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _speed(plan: Plan, place: Path) -> Speed:
    """Return the speed of the domain's last training, or what a matrix product measures now."""
    import torch

    from loramill.pack.base import find_device

    device = find_device(plan.base.device)
    measured = _json(place / "reports" / "train.json")
    if measured.get("tokens_per_second") and measured.get("device") == device.type:
        return Speed(float(measured["tokens_per_second"]), 0.0, device.type)
    side, dtype = (4096, torch.bfloat16) if device.type == "cuda" else (384, torch.float32)
    left, right = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))
    done, started = 0, time.perf_counter()
    while (spent := time.perf_counter() - started) < PROBE_SECONDS:
        (left @ right)[0, 0].item()  # waits for the device
        done += 1
    return Speed(None, 2 * side**3 * done / spent, device.type)
