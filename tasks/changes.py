"""Step ``changes`` of a night: what became of the rows since the champion learnt them, and whether that is worth a training."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import Plan
from loramill.errors import AdapterError
from loramill.records import read_records
from loramill.reports import read_json, restore_folder, write_json
from loramill.tracking import find
from tasks.progress import say

if TYPE_CHECKING:
    from loramill.data.changes import Changes
    from loramill.pack.manifest import Manifest

Decision = Literal["retrain", "judge", "skip"]
"""Train and judge; only judge what an interrupted night trained; leave it."""
Why = Literal["no champion", "forgotten", "settings", "same", "few", "rows", "unjudged", "tried"]


@dataclass(frozen=True)
class Verdict:
    """What to do with a domain tonight."""

    decision: Decision
    why: Why
    reason: str
    """The same in plain words."""


@dataclass(frozen=True)
class Known:
    """An adapter to compare with."""

    name: str
    """How a person calls it."""
    manifest: "Manifest"


@task(name="changes", cache_policy=NO_CACHE)
def changes(plan: Plan, domain: str, splits: Path, adapter: Path, promotion: Path, out: Path) -> Path:
    """Leave in ``out`` what changed since the champion was trained, the decision, and its reason in plain words.

    Args:
        plan: what the domain obeys.
        domain: its name.
        splits: today's rows in their parts.
        adapter: what was trained last, whether it became champion or not.
        promotion: what was decided about that one.
        out: the report.

    Raises:
        TrackingError: the registry did not answer.
    """
    train = read_records(splits / "train.jsonl")
    champion, last = _champion(domain), _last(adapter)
    found = _compared(plan, champion, splits) if champion else None
    today = frozenset(record.id for record in train)
    verdict = _decided(plan, today, champion, last, found, promotion)
    content: dict[str, Any] = asdict(verdict) | {"champion": champion.name if champion else None}
    if found is not None:
        content |= {"said": found.said, **asdict(found), "drift": [asdict(each) for each in found.drift]}
        content["drift_said"] = [each.said for each in found.drift]
    write_json(out, content)
    say("changes", f"{domain}: {verdict.decision}, {verdict.reason}")
    return out


def _champion(domain: str) -> Known | None:
    from loramill.pack.manifest import read_manifest

    version = find(domain, "champion")
    if version is None:
        return None
    try:
        return Known(f"version {version.number}", read_manifest(version.folder))
    except AdapterError as error:
        say("changes", f"the champion cannot be read, so its rows are not known: {error}")
        return None


def _last(adapter: Path) -> "Manifest | None":
    from loramill.pack.manifest import read_manifest

    restore_folder(adapter)
    try:
        return read_manifest(adapter)
    except AdapterError:
        return None


def _compared(plan: Plan, champion: Known, splits: Path) -> "Changes":
    from loramill.data.changes import compare_rows
    from loramill.data.ledger import read_ledger

    train = read_records(splits / "train.jsonl")
    prints = read_ledger(splits, train).prints
    return compare_rows(champion.manifest.rows, train, prints, plan.split.near_duplicate)


def _decided(
    plan: Plan,
    today: frozenset[str],
    champion: Known | None,
    last: "Manifest | None",
    found: "Changes | None",
    promotion: Path,
) -> Verdict:
    if champion is not None and (forgotten := set(plan.split.forgotten).intersection(champion.manifest.rows)):
        return Verdict("retrain", "forgotten", f"{champion.name} learnt {len(forgotten)} rows that are to be forgotten")
    if last is not None and frozenset(last.rows) == today and _obeys(last, plan):
        return _tried(last, champion, promotion)
    if champion is None or found is None:
        return Verdict("retrain", "no champion", "there is no champion yet")
    if not _obeys(champion.manifest, plan):
        return Verdict("retrain", "settings", f"settings or base differ from those of {champion.name}, the champion")
    if found.rows == 0:
        return Verdict("skip", "same", f"nothing changed since {champion.name}, the champion, was trained")
    said = f"{found.said} since {champion.name}, the champion"
    if found.rows < plan.nightly.least_rows:
        return Verdict("skip", "few", f"{said}; nightly.least_rows asks for {plan.nightly.least_rows}")
    return Verdict("retrain", "rows", said)


def _tried(last: "Manifest", champion: Known | None, promotion: Path) -> Verdict:
    """Say what became of the adapter that was trained on exactly today's rows."""
    ruling = read_json(promotion) if promotion.is_file() else {}
    if champion is not None and champion.manifest.digest == last.digest:
        return Verdict("skip", "same", f"nothing changed since {champion.name}, the champion, was trained")
    if ruling.get("adapter") != last.digest or ruling.get("decision") == "not judged":
        return Verdict("judge", "unjudged", "an adapter was trained on exactly these rows and waits to be judged")
    said = f"version {ruling['version']}, {ruling['decision']}"
    return Verdict("skip", "tried", f"exactly these rows were tried already ({said})")


def _obeys(manifest: "Manifest", plan: Plan) -> bool:
    """Tell whether an adapter was trained on the plan's base and as the plan says."""
    from loramill.pack.base import find_base
    from tasks.train import WATCHING

    if manifest.base != find_base(plan.base, plan.base.cache):
        return False
    sections = {"train": plan.train, "learning": plan.learning}
    return all(
        manifest.training.get(name) == section.model_dump(mode="json", exclude=WATCHING)
        for name, section in sections.items()
    )
