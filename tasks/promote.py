"""Step ``promote``: a registered version always; the alias ``champion`` only on proof."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import PromoteConfig
from loramill.errors import AdapterError, DataError
from loramill.evaluation.gates import Gate, Ruling, Standing, kept, rule
from loramill.evaluation.plain import plain_words, told
from loramill.records import read_records
from loramill.reports import digest_of_file, read_json, write_json
from loramill.tracking import Entry, diary, entries, entry_of, move_champion, point, register, tag, write_audit
from tasks.pages import write_proof_page
from tasks.progress import say
from tasks.stage import run_as_stage

if TYPE_CHECKING:
    from loramill.pack.manifest import Manifest


@task(name="promote", cache_policy=NO_CACHE)
def promote(config: PromoteConfig, adapter: Path, scores: Path, out: Path, splits: Path | None = None) -> Path:
    """Register the adapter as ``challenger`` and, if every gate is passed, as ``champion``; leave the ruling in ``out``.

    Args:
        config: the gates.
        adapter: the folder that was scored.
        scores: what ``evaluate`` left.
        out: the ruling.
        splits: today's rows; the scores must be of exactly these test rows. Not asked if not given.

    Raises:
        TrackingError: the registry did not answer.
        AdapterError: the adapter was changed after training, or belongs to another domain.
        DataError: the scores are of another adapter, or of other test rows.
    """
    from loramill.pack.manifest import read_manifest

    manifest, content = read_manifest(adapter), read_json(scores)
    _check(manifest, content, scores, splits)
    champion = entry_of(manifest.domain, "champion")
    version = _registered(adapter, manifest, content, scores)
    point("challenger", version)
    ruling = rule(config, content, _standing(manifest, version, champion))
    if ruling.decision == "promoted":
        ruling = _moved(ruling, version, champion)
    _note(out, version, champion, ruling)
    page = write_proof_page(scores, out)
    say("promote", f"{ruling.decision} (version {version.number}): {_deciding(ruling)} (the proof as a page: {page})")
    return out


def _check(manifest: "Manifest", content: Mapping[str, Any], scores: Path, splits: Path | None) -> None:
    """Refuse scores that say nothing about this adapter."""
    again = f"evaluate it first: `dvc repro --force --single-item evaluate@{manifest.domain}`"
    if content.get("challenger") != manifest.digest:
        other = str(content.get("challenger"))[:12]
        raise DataError(
            f"{str(scores)!r} holds the scores of adapter {other}, this one is {manifest.digest[:12]}; {again}"
        )
    if diary().run_id and diary().domain != manifest.domain:
        raise AdapterError(
            f"this adapter was trained for domain {manifest.domain!r}, not for {diary().domain!r}; train one there"
        )
    if splits is not None and _ids(content) != [record.id for record in read_records(splits / "test.jsonl")]:
        raise DataError(f"{str(scores)!r} is of other test rows than {str(splits)!r} has now; {again}")


def _ids(content: Mapping[str, Any]) -> list[str]:
    return [row["id"] for row in content.get("per_row", [])]


def _registered(adapter: Path, manifest: "Manifest", content: Mapping[str, Any], scores: Path) -> Entry:
    """Store a copy whose passport holds the scores too; the folder that was trained stays as DVC knows it.

    An adapter that was evaluated again is registered already: its sealed passport keeps the first scores, the tags the last.
    """
    from loramill.pack.manifest import write_manifest

    proof = {
        "digest": digest_of_file(scores),
        "test_rows": hashlib.sha256(str(sorted(_ids(content))).encode()).hexdigest(),
        "loss": content["loss"],
        "verdicts": {reference: verdict["outcome"] for reference, verdict in content["verdicts"].items()},
        "champion": content.get("champion"),
    }
    recipe = manifest.recipe
    with TemporaryDirectory() as place:
        copy = Path(shutil.copytree(adapter, Path(place) / adapter.name))
        write_manifest(copy, replace(manifest, scores=proof))
        return register(
            copy,
            digest=manifest.digest,
            facts={
                "base": manifest.base,
                "base_digest": manifest.base_digest,
                "rows_digest": manifest.rows_digest,
                "scores": json.dumps(proof),
                "scores_digest": proof["digest"],
                "scored_against": content.get("champion") or "",
                "test_rows": proof["test_rows"],
                "data_md5": recipe.get("data_md5", ""),
                "git_commit": recipe.get("git_commit", ""),
            },
            metrics={f"test_loss.{name}": loss for name, loss in content["loss"].items()},
        )


def _standing(manifest: "Manifest", version: Entry, champion: Entry | None) -> Standing:
    entry = next((each for each in entries(manifest.domain) if each.number == version.number), None)
    return Standing(
        domain=manifest.domain,
        champion=champion.digest if champion else None,
        is_champion=champion is not None and champion.digest == manifest.digest,
        retired=entry.retired if entry else "",
        rejected=entry.rejected if entry else "",
        learnt=frozenset(manifest.rows),
    )


def _moved(ruling: Ruling, version: Entry, champion: Entry | None) -> Ruling:
    """Move the alias from the champion that the scores were made against; if another one is there now, nothing is proven."""
    before, why = champion.number if champion else None, "; ".join(ruling.reasons)
    try:
        if move_champion(version.domain, version.number, before=before, kind="promoted", by="gates", reason=why):
            return ruling
    except AdapterError as error:  # rejected or retired while it was judged
        barred = Gate("allowed", "barred meanwhile", False, str(error), {"why": str(error)})
        return Ruling(kept(champion.number if champion else None), (*ruling.gates, barred))
    lost = "another promotion was quicker, and nothing is known against its champion; evaluate again"
    return Ruling("not judged", (*ruling.gates, Gate("same champion", "overtaken", False, lost)))


def _deciding(ruling: Ruling) -> str:
    """Return the reason that a person wants to see: the first gate that failed, else the last proof."""
    failed = [gate for gate in ruling.asked if not gate.is_passed]
    proofs = [gate for gate in ruling.asked if gate.kind == "over"]
    return failed[0].words if failed else (proofs or ruling.asked)[-1].words


def _note(out: Path, version: Entry, before: Entry | None, ruling: Ruling) -> None:
    facts = {
        "decision": ruling.decision,
        "reasons": list(ruling.reasons),
        "failed": list(ruling.failed),
        "version": version.number,
        "adapter": version.digest,
        "champion_before": before.number if before else None,
    }
    tag(version.domain, version.number, {"decision": ruling.decision, "gates_failed": ", ".join(ruling.failed)})
    write_audit(out.parent.parent / "audit.jsonl", {"action": "judged", "by": "gates", **facts})
    plain = plain_words()
    write_json(out, facts | {"gates": [told(gate, plain) for gate in ruling.gates]})
    diary().note({"decision": ruling.decision, "registered_version": version.number})
    diary().file(out, "reports")


if __name__ == "__main__":
    run_as_stage(promote)
