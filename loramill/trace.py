"""From the digest of an adapter back to its run, data, commit and configuration."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from loramill.errors import AdapterError
from loramill.tracking import Entry, entries, fetch, run_tags

if TYPE_CHECKING:
    from loramill.pack.manifest import Manifest

SHORTEST: Final = 6
"""Fewest characters of a digest that may stand for it."""


@dataclass(frozen=True)
class Trail:
    """A registered adapter and all that it rests on."""

    entry: Entry
    manifest: "Manifest"
    noted: Mapping[str, str] = field(default_factory=dict)
    """Tags of the run that registered it, for what its passport does not hold."""

    @property
    def told(self) -> dict[str, Any]:
        """What a person asks of an answer that was served."""
        recipe = {**self.noted, **self.manifest.recipe}
        return {
            "adapter": self.entry.digest,
            "version": f"{self.entry.domain} {self.entry.number}",
            "decision": self.entry.barred or self.entry.decision,
            "run": self.entry.run_id,
            "training run": recipe.get("run_id", ""),
            "data": recipe.get("data_md5", "not kept"),
            "commit": recipe.get("git_commit", "not kept"),
            "base": {"name": self.manifest.base, "digest": self.manifest.base_digest},
            "template": self.manifest.template_digest,
            "rows": {"count": len(self.manifest.rows), "digest": self.manifest.rows_digest},
            "started from": self.manifest.started_from,
            "configuration": {**({"base": recipe["base"]} if "base" in recipe else {}), **self.manifest.training},
            "scores": self._scores(),
            "libraries": dict(self.manifest.libraries),
        }

    def _scores(self) -> dict[str, Any]:
        """Return the last evaluation's; the sealed passport holds the first's."""
        last = self.entry.tags.get("scores")
        return dict(json.loads(last) if last else self.manifest.scores)


def trail(digest: str) -> Trail:
    """Return the trail of the adapter that a digest, or its beginning, names.

    Raises:
        AdapterError: no registered adapter has it, or several begin so; or its files were changed.
        TrackingError: the registry did not answer.
    """
    from loramill.pack.manifest import read_manifest

    if len(digest) < SHORTEST:
        raise AdapterError(
            f"{digest!r} is too short to name an adapter; give {SHORTEST} characters of its digest or more"
        )
    found = [entry for entry in entries() if entry.digest.startswith(digest)]
    digests = sorted({entry.digest for entry in found})
    if not digests:
        raise AdapterError(
            f"no registered adapter has a digest that begins with {digest!r}; `loramill history DOMAIN` lists them"
        )
    if len(digests) > 1:
        raise AdapterError(
            f"{digest!r} names {len(digests)} adapters: {', '.join(each[:16] for each in digests)}; give more"
        )
    manifest = read_manifest(fetch(found[0].domain, found[0].number).folder)
    return Trail(found[0], manifest, run_tags(found[0].run_id))


def written(told: Mapping[str, Any]) -> str:
    """Return a trail as text."""
    return yaml.safe_dump(dict(told), allow_unicode=True, sort_keys=False)
