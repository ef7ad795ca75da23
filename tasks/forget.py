"""What forgetting a row takes: who learnt it, the ban, the retirement, and the proof that it is gone."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import Plan, domain_file, load_plan
from loramill.errors import AdapterError, DataError
from loramill.records import Record, read_records
from loramill.reports import read_json, write_json, write_text
from loramill.tracking import champion_number, diary, entries, fetch, take_down, write_audit
from tasks.progress import say

if TYPE_CHECKING:
    from loramill.pack.manifest import Manifest
    from loramill.pack.members import Pack

SHEETS: Final = "forgotten"
"""Folder of a domain's proof sheets."""
MEASURED: Final = 8
"""Retired versions on which the row's loss is measured, the newest first."""


@dataclass(frozen=True)
class Learner:
    """A registered adapter that learnt the row, itself or through the one it started from."""

    version: str
    digest: str
    made: str
    was_champion: bool
    folder: Path


@dataclass(frozen=True)
class Found:
    """All that is known of a row before it is forgotten. It holds the row's words: it is never written down."""

    row: str
    record: Record | None
    """None if the row is in the data no more."""
    part: str
    """``train``, ``validation`` or ``test``; empty if it has no place."""
    learners: tuple[Learner, ...]
    alike: tuple[str, ...]
    """Ids of other rows that say nearly the same."""
    unknown: tuple[str, ...] = ()
    """Digests of adapters that others started from and that are registered no more: nobody can say what those learnt."""


@task(name="find-row", cache_policy=NO_CACHE)
def find_row(domain: str, row: str, records: Path, splits: Path) -> Found:
    """Return the row, its part, the adapters that learnt it, and the rows that are nearly the same.

    Raises:
        DataError: neither the data nor any adapter knows such a row.
        TrackingError: the registry did not answer.
    """
    known = read_records(records) if records.is_file() else []
    record = next((each for each in known if each.id == row), None)
    part = next((name for name in ("train", "validation", "test") if row in _ids(splits / f"{name}.jsonl")), "")
    learners, unknown = _learners(domain, row)
    if record is None and not part and not learners:
        raise DataError(
            f"{domain} knows no row {row!r}: neither {records} nor any registered adapter has it. Ids stand in {splits}, "
            f"beside each row"
        )
    alike = _alike(record, known, load_plan(domain_file(domain)).split.near_duplicate) if record else ()
    say("forget", f"row {row}: {part or 'no part'}, learnt by {len(learners)} registered versions")
    for learner in learners:
        say("forget", f"version {learner.version}, adapter {learner.digest[:12]}, made {learner.made}")
    for digest in unknown:
        say(
            "forget",
            f"adapter {digest[:12]}, from which others started, is registered no more: what it learnt is not known",
        )
    return Found(row, record, part, tuple(learners), alike, tuple(unknown))


@task(name="ban", cache_policy=NO_CACHE)
def ban(domain: str, row: str) -> bool:
    """Write the row's id into ``split.forgotten`` of the domain's file; tell whether that was new."""
    from loramill.scaffold import edit_section

    path = domain_file(domain)
    banned = list(load_plan(path).split.forgotten)
    if row in banned:
        return False

    def add(content: Any) -> None:
        section = content["split"] = content.get("split") or {}
        if section.get("forgotten"):
            section["forgotten"].append(row)  # in place: comments stay
        else:
            section["forgotten"] = [*banned, row]

    edit_section(path, "split", add)
    say("forget", f"{path}: split.forgotten names {row} now, no adapter will learn it again; commit that file")
    return True


@task(name="retire", cache_policy=NO_CACHE)
def retire(domain: str, found: Found, by: str, reason: str, audit: Path) -> list[str]:
    """Take every adapter that learnt the row out of service for ever; return the versions.

    Args:
        domain: a domain of conf/.
        found: the row and who learnt it.
        by: who asks.
        reason: why.
        audit: where decisions are written down.

    Raises:
        TrackingError: the registry did not answer.
    """
    numbers = [learner.version for learner in found.learners]
    freed = take_down(domain, numbers, f"learnt row {found.row}, which was forgotten: {reason or 'no reason given'}")
    facts = {"action": "forgotten", "row": found.row, "by": by or "unknown", "reason": reason, "retired": numbers}
    write_audit(audit, facts)
    if numbers:
        say("forget", f"retired: version {', '.join(numbers)}" + (f" (was {', '.join(freed)})" if freed else ""))
    return numbers


@task(name="prove", cache_policy=NO_CACHE)
def prove(plan: Plan, found: Found, adapter: Path, promotion: Path, who: tuple[str, str], out: Path) -> Path:
    """Leave the proof sheet in ``out``, as a page and as JSON: who knew the row, who knows it now, what the losses say.

    Args:
        plan: what the domain obeys.
        found: what was known of the row.
        adapter: the one that was trained without it.
        promotion: what was decided about that one.
        who: who asked, and why.
        out: the page.

    Raises:
        AdapterError: the new adapter has learnt the row all the same.
    """
    from loramill.pages.forgotten import forgotten_page

    manifest = check_forgotten(found, adapter)
    content = {
        "domain": manifest.domain,
        "row": found.row,
        "part": found.part,
        "by": who[0],
        "reason": who[1],
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "adapters": [asdict(learner) | {"folder": str(learner.folder)} for learner in found.learners],
        "replacement": _replacement(manifest, read_json(promotion) if promotion.is_file() else {}),
        "loss": _losses(plan, found, adapter),
        "alike": list(found.alike),
        "unknown": list(found.unknown),
        "source": found.record.source if found.record else "",
    }
    write_json(out.with_suffix(".json"), content)
    write_text(out, forgotten_page(content))
    diary().note({"forgotten": found.row})
    say("forget", f"the proof sheet: {out}")
    return out


def check_forgotten(found: Found, adapter: Path) -> "Manifest":
    """Return the passport of an adapter that has not learnt the row, neither itself nor through the one it started from.

    Raises:
        AdapterError: it has.
    """
    from loramill.pack.manifest import read_manifest

    manifest = read_manifest(adapter)
    if found.row in manifest.rows:
        raise AdapterError(f"{adapter} has learnt row {found.row} all the same; run the same command again")
    start = next((each for each in found.learners if each.digest == manifest.started_from), None)
    if start is not None:
        raise AdapterError(
            f"{adapter} started from version {start.version}, which learnt row {found.row}, and carries it on; "
            "set train.start_from: scratch and run the same command again"
        )
    return manifest


def _ids(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    return {json.loads(line)["id"] for line in path.read_text(encoding="utf-8").split("\n") if line}


def _learners(domain: str, row: str) -> tuple[list[Learner], list[str]]:
    """Return the registered versions that learnt the row, and the ancestors of which nothing is known."""
    from loramill.pack.lineage import learnt, unknown_ancestors
    from loramill.pack.manifest import read_manifest

    champion = champion_number(domain)
    versions = {entry.digest: (entry, fetch(domain, entry.number)) for entry in entries(domain)}
    manifests: dict[str, Manifest] = {}
    for digest, (entry, version) in versions.items():
        try:
            manifests[digest] = read_manifest(version.folder)
        except AdapterError as error:
            say("forget", f"version {entry.number} cannot be read, so nobody knows what it learnt: {error}")
    learners = [
        Learner(entry.number, digest, f"{entry.created:%Y-%m-%d %H:%M}", entry.number == champion, version.folder)
        for digest in learnt(row, manifests)
        for entry, version in [versions[digest]]
    ]
    return learners, unknown_ancestors(manifests)


def _alike(record: Record, known: Sequence[Record], threshold: float) -> tuple[str, ...]:
    from loramill.data.alike import alike_pairs

    found = set()
    for texts in ([each.question for each in known], [each.answer for each in known]):
        for first, second, _ in alike_pairs(texts, threshold):
            pair = {known[first].id, known[second].id}
            found |= pair - {record.id} if record.id in pair else set()
    return tuple(sorted(found))


def _replacement(manifest: "Manifest", ruling: dict[str, Any]) -> dict[str, Any]:
    version = ruling.get("version") if ruling.get("adapter") == manifest.digest else None
    return {
        "digest": manifest.digest,
        "version": version,
        "decision": ruling.get("decision", "") if version else "",
        "started_from": manifest.started_from,
        "rows": len(manifest.rows),
    }


def _losses(plan: Plan, found: Found, adapter: Path) -> dict[str, Any]:
    """Return the row's loss (nats per token) under the retired adapters, the new one, and the base that never saw it."""
    if found.record is None:
        return {}
    from loramill.pack.members import Pack
    from tasks.lesson import load_with_bar

    pack = Pack(load_with_bar("forget", plan.base))
    before = {
        f"version {each.version}": _loss(pack, each.folder, found.record, plan)
        for each in found.learners[-MEASURED:][::-1]
    }
    after = _loss(pack, adapter, found.record, plan)
    return {"base": _loss(pack, None, found.record, plan), "before": before, "after": after}


def _loss(pack: "Pack", folder: Path | None, record: Record, plan: Plan) -> float | None:
    """Return the row's loss under a stored adapter, or the bare base; none if the adapter no longer fits the base."""
    from loramill.evaluation.score import row_losses
    from loramill.prompts import encode

    name = "asked" if folder is not None else None
    try:
        if folder is not None:
            pack.load("asked", folder)
    except AdapterError:
        return None
    rows = encode(pack.base.tokenizer, record, pack.base.template, plan.learning.max_tokens)
    loss = float(row_losses(pack, [name], rows, plan.learning.tokens_per_pass)[name].mean())
    if folder is not None:
        pack.remove("asked")
    return loss
