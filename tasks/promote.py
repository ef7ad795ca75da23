"""Step ``promote``: a registered version always; the alias ``champion`` only on proof."""

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from loramill.config import PromoteConfig
from loramill.evaluation.gates import rule
from loramill.reports import read_json, write_json
from loramill.tracking import Version, diary, find, point, register
from tasks.progress import say
from tasks.stage import run_as_stage


@task(name="promote", cache_policy=NO_CACHE)
def promote(config: PromoteConfig, adapter: Path, scores: Path, out: Path) -> Path:
    """Register the adapter as ``challenger`` and, if every gate is passed, as ``champion``; leave the ruling in ``out``.

    Raises:
        TrackingError: the registry did not answer.
        AdapterError: the adapter was changed after training.
    """
    from loramill.pack.manifest import read_manifest

    manifest, content = read_manifest(adapter), read_json(scores)
    champion = find(manifest.domain, "champion")
    is_champion = champion is not None and champion.digest == manifest.digest
    version = register(
        adapter,
        digest=manifest.digest,
        facts={"base": manifest.base, "base_digest": manifest.base_digest, "rows_digest": manifest.rows_digest},
        metrics={f"test_loss.{name}": loss for name, loss in content["loss"].items()},
    )
    point("challenger", version)
    ruling = rule(config, content["verdicts"], is_champion=is_champion)
    if ruling.decision == "promoted":
        point("champion", version)
    _note(out, version, champion, {"decision": ruling.decision, "reasons": list(ruling.reasons)})
    say("promote", f"{ruling.decision} (version {version.number}): {ruling.reasons[-1]}")
    return out


def _note(out: Path, version: Version, before: Version | None, ruling: dict[str, Any]) -> None:
    versions = {
        "version": version.number,
        "adapter": version.digest,
        "champion_before": before.number if before else None,
    }
    write_json(out, ruling | versions)
    diary().note({"decision": ruling["decision"], "registered_version": version.number})
    diary().file(out, "reports")


if __name__ == "__main__":
    run_as_stage(promote)
