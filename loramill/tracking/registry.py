"""The registry: every adapter a version of its domain. It is asked directly and says so when it cannot answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from loramill.errors import AdapterError
from loramill.tracking import store
from loramill.tracking.runs import diary

Alias = Literal["champion", "challenger"]
TAG_CHARS: Final = 4000
"""Longest text of a tag; MLflow takes 5000."""


@dataclass(frozen=True)
class Version:
    """One registered adapter, with its files at hand.

    If the store has lost them, the folder is not there, and whoever reads it meets an `AdapterError`.
    """

    domain: str
    number: str
    digest: str
    folder: Path
    run_id: str


@dataclass(frozen=True)
class Entry:
    """One registered adapter as the registry lists it, its files not fetched."""

    domain: str
    number: str
    digest: str
    run_id: str
    created: datetime
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def decision(self) -> str:
        """What the gates said."""
        return self.tags.get("decision", "no judgement recorded")

    @property
    def retired(self) -> str:
        """Why it must never serve again, whatever a person says; empty if it may."""
        return self.tags.get("retired", "")

    @property
    def rejected(self) -> str:
        """Who said that no gate may let it serve, and why; empty if nobody did."""
        return self.tags.get("rejected", "")

    @property
    def barred(self) -> str:
        """Why no gate may let it serve; empty if they may."""
        if self.retired:
            return f"it was retired: {self.retired}"
        return f"a person rejected it: {self.rejected}" if self.rejected else ""


def register(adapter: Path, *, digest: str, facts: Mapping[str, object], metrics: Mapping[str, float]) -> Entry:
    """Store an adapter folder and make it the next version of its domain; the same digest is registered once only.

    ``facts`` become tags, of a version that is registered already too.

    Raises:
        TrackingError: the registry did not answer.
    """
    owner = diary()
    with store.answering("register the adapter"):
        store.prepare_store()
        with store.alone(owner.domain):
            known = _by_digest(owner.domain, digest)
            version = known or _stored(adapter, {**facts, "digest": digest}, metrics)
            _tag(owner.domain, version.version, facts)
            return described(owner.domain, str(version.version))


def point(alias: Alias, version: Version | Entry) -> None:
    """Let an alias of the domain name this version; ``champion`` moves by `move_champion` only.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering(f"move {alias}"):
        store.client().set_registered_model_alias(version.domain, alias, version.number)


def find(domain: str, alias: Alias) -> Version | None:
    """Return the version that an alias names, if any, with its files: a store elsewhere sends them. See `entry_of`.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering(f"look up {alias}"):
        store.prepare_store()
        found = aliased(domain, alias)
        return _version(domain, found) if found is not None else None


def entry_of(domain: str, alias: Alias) -> Entry | None:
    """Return what the registry lists about the version that an alias names, if any; its files stay where they are.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering(f"look up {alias}"):
        store.prepare_store()
        found = aliased(domain, alias)
        return _entry(found) if found is not None else None


def fetch(domain: str, number: str) -> Version:
    """Return a version by its number, its files at hand.

    Raises:
        AdapterError: the domain has no such version.
        TrackingError: the registry did not answer.
    """
    with store.answering(f"look up version {number}"):
        store.prepare_store()
        found = _or_none(lambda: store.client().get_model_version(domain, number))
        if found is None:
            raise AdapterError(
                f"{domain!r} has no version {number!r}; `loramill history {domain}` lists those that it has"
            )
        return _version(domain, found)


def entries(domain: str | None = None) -> list[Entry]:
    """Return all versions of a domain, or of all domains, the oldest first.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering("list the versions"):
        store.prepare_store()
        wanted = f"name = '{domain}'" if domain else ""
        page = store.client().search_model_versions(wanted, max_results=1000)
        found = list(page)
        while page.token:
            page = store.client().search_model_versions(wanted, max_results=1000, page_token=page.token)
            found += page
        return sorted((_entry(each) for each in found), key=lambda each: (each.domain, int(each.number)))


def tag(domain: str, number: str, facts: Mapping[str, object]) -> None:
    """Write facts beside a version, where MLflow shows them; `retire` has one of its own.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering(f"tag version {number}"):
        _tag(domain, number, facts)


def retire(domain: str, number: str, reason: str) -> None:
    """Mark a version that must never serve again: no gate, no person and no rollback makes it champion.

    Raises:
        TrackingError: the registry did not answer.
    """
    tag(domain, number, {"retired": reason})


def run_tags(run_id: str) -> dict[str, str]:
    """Return what was noted about a run; nothing if it is not there any more.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering(f"look up run {run_id}"):
        found = _or_none(lambda: store.client().get_run(run_id)) if run_id else None
        return dict(found.data.tags) if found is not None else {}


def described(domain: str, number: str) -> Entry:
    """Return a version as the registry lists it now."""
    return _entry(store.client().get_model_version(domain, number))


def aliased(domain: str, alias: Alias) -> Any | None:
    """Return what MLflow holds about the version that an alias names, without fetching its files."""
    return _or_none(lambda: store.client().get_model_version_by_alias(domain, alias))


def _stored(adapter: Path, facts: Mapping[str, object], metrics: Mapping[str, float]) -> Any:
    owner, client = diary(), store.client()
    model = client.create_logged_model(
        store.experiment(owner.domain),
        name=f"{owner.domain}-lora",
        source_run_id=owner.run_id or None,
        model_type="lora",
        tags={key: _cut(value) for key, value in facts.items()},
    )
    client.log_model_artifacts(model.model_id, str(adapter))
    client.finalize_logged_model(model.model_id, "READY")
    for key, value in metrics.items() if owner.run_id else ():
        client.log_metric(owner.run_id, key, value, model_id=model.model_id)
    if not any(m.name == owner.domain for m in client.search_registered_models(f"name = '{owner.domain}'")):
        client.create_registered_model(owner.domain)
    return client.create_model_version(
        owner.domain,
        f"models:/{model.model_id}",
        run_id=owner.run_id or None,
        model_id=model.model_id,
        tags={"digest": str(facts["digest"])},
    )


def _by_digest(domain: str, digest: str) -> Any | None:
    found = store.client().search_model_versions(f"name = '{domain}' and tags.digest = '{digest}'")
    return found[0] if found else None


def _tag(domain: str, number: str, facts: Mapping[str, object]) -> None:
    for key, value in facts.items():
        store.client().set_model_version_tag(domain, str(number), key, _cut(value))


def _cut(value: object) -> str:
    return str(value)[:TAG_CHARS]


def _or_none(ask: Callable[[], Any]) -> Any | None:
    """Return what is asked for, or nothing if the registry has no such thing; other refusals stay errors."""
    from mlflow.exceptions import MlflowException

    try:
        return ask()
    except MlflowException as error:
        missing = error.error_code in {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
        if missing and "not found" in str(error).lower():
            return None
        raise


def _version(domain: str, version: Any) -> Version:
    number = str(version.version)
    return Version(domain, number, version.tags.get("digest", ""), _folder(version, domain), version.run_id or "")


def _folder(version: Any, domain: str) -> Path:
    """Return the folder with a version's files; files that are gone do not come back by asking again."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    lost = Path(f"lost files of {domain} version {version.version}")
    try:
        return Path(download_artifacts(artifact_uri=version.source, tracking_uri=store.tracking_uri()))
    except FileNotFoundError:
        return lost
    except (MlflowException, OSError) as error:
        if any(words in str(error) for words in ("No such file or directory", "No such artifact")):
            return lost
        raise


def _entry(version: Any) -> Entry:
    created = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    tags = dict(version.tags)
    return Entry(version.name, str(version.version), tags.get("digest", ""), version.run_id or "", created, tags)
