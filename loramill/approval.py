"""What a person decides about champions: approve, reject, roll back; every decision with name and reason, for ever."""

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loramill.errors import AdapterError, BusyError, ConfigError
from loramill.tracking import (
    Entry,
    champion_number,
    earlier,
    entries,
    entry_of,
    fetch,
    move_champion,
    moves,
    read_audit,
    reject_version,
    tag,
    write_audit,
)

ARTIFACTS: Final = Path("artifacts")


@dataclass(frozen=True)
class Person:
    """Who decides, and why."""

    name: str
    reason: str

    def __post_init__(self) -> None:
        for what, said in (("--by", self.name), ("--reason", self.reason)):
            if not said.strip():
                raise ConfigError(f"{what} is empty: the audit log asks who decided and why; give a few words")

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def approve(domain: str, person: Person, number: str | None = None, artifacts: Path = ARTIFACTS) -> str:
    """Make a version champion, whatever the gates said; what they refused is recorded as approved against them.

    Args:
        domain: whose champion.
        person: who decides.
        number: the version; the challenger if not given.
        artifacts: the folder with the audit log.

    Returns:
        What was done, in one line.

    Raises:
        AdapterError: there is no such version, it is champion already, was retired, or its files were changed.
        BusyError: the champion changed just now.
        TrackingError: the registry did not answer.
    """
    entry, current = _asked(domain, number), champion_number(domain)
    if entry.number == current:
        raise AdapterError(f"version {current} of {domain!r} is the champion already; there is nothing to approve")
    _check_may_serve(entry)
    refused = _refused(entry, current)
    if not move_champion(domain, entry.number, before=current, kind="approved", by=person.name, reason=person.reason):
        raise _moved_meanwhile(domain)
    tag(domain, entry.number, {"approved": str(person), "approved_against": refused, "rejected": ""})
    facts = {"against_gates": refused, "champion_before": current}
    _log(artifacts, "approved", entry, person, facts)
    against = f", against the gates ({refused})" if refused else ""
    return f"version {entry.number} (adapter {entry.digest[:12]}) is champion of {domain}{against}"


def reject(domain: str, person: Person, number: str | None = None, artifacts: Path = ARTIFACTS) -> str:
    """Keep a version from ever becoming champion by the gates; only `approve` can take that back.

    Raises:
        AdapterError: there is no such version, or it is the champion.
        TrackingError: the registry did not answer.
    """
    entry, current = _asked(domain, number), champion_number(domain)
    if not reject_version(domain, entry.number, str(person)):
        raise AdapterError(
            f"version {entry.number} of {domain!r} is the champion; take it out of service with `loramill rollback {domain}`"
        )
    _log(artifacts, "rejected", entry, person, {"champion_before": current})
    return f"version {entry.number} (adapter {entry.digest[:12]}) of {domain} is rejected; no gate will promote it"


def rollback(domain: str, person: Person, number: str | None = None, artifacts: Path = ARTIFACTS) -> str:
    """Put an earlier champion back into service; the one that leaves is rejected, so that no gate brings it back.

    Args:
        domain: whose champion.
        person: who decides.
        number: the version; the champion before the current one if not given.
        artifacts: the folder with the audit log.

    Raises:
        AdapterError: there is no champion, none before it, or the version cannot serve.
        BusyError: the champion changed just now.
        TrackingError: the registry did not answer.
    """
    current = champion_number(domain)
    before = earlier(moves(domain), current, [each.number for each in entries(domain) if each.retired])
    if current is None:
        raise AdapterError(
            f"{domain!r} has no champion, so there is nothing to roll back; "
            f"`loramill approve {domain} --version {before or 'N'} --by NAME --reason TEXT` puts a version into service"
        )
    target = number or before
    if target is None:
        raise AdapterError(
            f"no champion of {domain!r} before version {current} is known; `loramill history {domain}` lists the versions, "
            "`--to VERSION` takes one of them"
        )
    if target == current:
        raise AdapterError(f"version {current} of {domain!r} is the champion already; give another one to --to")
    entry = _asked(domain, target)
    _check_may_serve(entry)
    _swap(domain, target, current, person)
    _log(artifacts, "rolled back", entry, person, {"champion_before": current})
    return f"version {target} (adapter {entry.digest[:12]}) is champion of {domain} again; version {current} was taken back"


def history(domain: str, artifacts: Path = ARTIFACTS) -> list[str]:
    """Return the champions of a domain, its versions, and what was decided about them, a line each.

    Raises:
        DataError: the audit log was changed.
        TrackingError: the registry did not answer.
    """
    current = champion_number(domain)
    known = entries(domain)
    if not known:
        return [f"{domain} has no registered adapter yet: `loramill run {domain}` makes one"]
    changes = [
        f"  {move.at[:19]}  version {move.before or '-'} → {move.version}  {move.kind} by {move.by}: {move.reason}"
        for move in moves(domain)
    ]
    versions = [
        f"  {'*' if each.number == current else ' '} {each.number:>3}  {each.digest[:12]}  {each.created:%Y-%m-%d %H:%M}  "
        f"{each.barred or each.decision}"
        for each in known
    ]
    said = [_audit_line(line) for line in read_audit(artifacts / domain / "audit.jsonl")]
    return [
        f"champions of {domain} (* serves now)",
        *(changes or ["  none has ever changed"]),
        "versions",
        *versions,
        *(["decisions", *said] if said else []),
    ]


def whoever() -> str:
    """Return the name of the user at this terminal."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user
        return "unknown"


def _asked(domain: str, number: str | None) -> Entry:
    """Return a version, or the challenger."""
    if number is None:
        challenger = entry_of(domain, "challenger")
        if challenger is None:
            raise AdapterError(f"{domain!r} has no challenger yet: `loramill run {domain}` makes one")
        number = challenger.number
    found = next((each for each in entries(domain) if each.number == number), None)
    if found is None:
        raise AdapterError(f"{domain!r} has no version {number!r}; `loramill history {domain}` lists those that it has")
    return found


def _check_may_serve(entry: Entry) -> None:
    from loramill.pack.manifest import read_manifest

    if entry.retired:
        raise AdapterError(
            f"version {entry.number} of {entry.domain!r} was retired ({entry.retired}) and must not serve again; train anew"
        )
    manifest = read_manifest(fetch(entry.domain, entry.number).folder)
    if manifest.digest != entry.digest:
        raise AdapterError(
            f"version {entry.number} of {entry.domain!r} was registered as {entry.digest[:12]}, its files are "
            f"{manifest.digest[:12]}: somebody changed the store; take another version"
        )


def _refused(entry: Entry, champion: str | None) -> str:
    """Return what the gates did not pass; a judgement against another champion than the one in service is no pass."""
    if "decision" not in entry.tags:
        return entry.decision
    now = next((each.digest for each in entries(entry.domain) if each.number == champion), "")
    failed = [name for name in entry.tags.get("gates_failed", "").split(", ") if name]
    if entry.tags.get("scored_against", now) != now and "same champion" not in failed:
        failed.append("same champion")
    return ", ".join(failed)


def _swap(domain: str, target: str, current: str, person: Person) -> None:
    """Reject the champion that leaves, then let the other one serve: a kill in between lets no gate bring it back."""
    tag(domain, current, {"rejected": f"rolled back by {person}"})
    try:
        is_moved = move_champion(domain, target, before=current, kind="rollback", by=person.name, reason=person.reason)
    except AdapterError:
        tag(domain, current, {"rejected": ""})
        raise
    if not is_moved:
        tag(domain, current, {"rejected": ""})
        raise _moved_meanwhile(domain)
    tag(domain, target, {"rejected": ""})


def _moved_meanwhile(domain: str) -> BusyError:
    return BusyError(
        f"the champion of {domain!r} changed while you decided; look at `loramill history {domain}` and decide again"
    )


def _log(artifacts: Path, action: str, entry: Entry, person: Person, facts: Mapping[str, Any]) -> None:
    line = {
        "action": action,
        "by": person.name,
        "reason": person.reason,
        "version": entry.number,
        "adapter": entry.digest,
    }
    write_audit(artifacts / entry.domain / "audit.jsonl", {**line, **facts})


def _audit_line(line: Mapping[str, Any]) -> str:
    what = line.get("decision") or line["action"]
    why = line.get("reason") or ", ".join(line.get("failed", [])) or _without_reason(line)
    against = f" (against the gates: {line['against_gates']})" if line.get("against_gates") else ""
    return f"  {line['at'][:19]}  {_whom(line)}  {what} by {line['by']}: {why}{against}"


def _without_reason(line: Mapping[str, Any]) -> str:
    return "every gate passed" if "failed" in line else "no reason given"


def _whom(line: Mapping[str, Any]) -> str:
    """Say what was decided about: a version or, where a row was forgotten, the row and the versions that had learnt it."""
    if "version" in line:
        return f"version {line['version']}"
    return f"row {line.get('row', 'unknown')} (versions retired: {', '.join(line.get('retired', [])) or 'none'})"
