"""Who is champion, and who was: the alias moves in one step, only from the champion that the mover knew."""

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from loramill.errors import AdapterError
from loramill.tracking import store
from loramill.tracking.registry import aliased, described, tag

log = logging.getLogger("loramill")
Kind = Literal["promoted", "approved", "rollback"]
PREFIX: Final = "champion."
"""Tags of the registered model that begin so are its moves, one each; what follows is the moment."""
REASON_CHARS: Final = 2000


@dataclass(frozen=True)
class Move:
    """The alias ``champion`` went from one version to another."""

    at: str
    """Moment, UTC, ISO 8601."""
    kind: Kind
    version: str
    before: str | None
    """Champion until then."""
    by: str
    """``gates``, or a person."""
    reason: str


def champion_number(domain: str) -> str | None:
    """Return the number of the champion in service, if any.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering("look up champion"):
        store.prepare_store()
        return _number(domain)


def move_champion(domain: str, number: str, *, before: str | None, kind: Kind, by: str, reason: str) -> bool:
    """Let ``champion`` name a version if it still names ``before``; tell whether it does now.

    Two processes of one machine cannot both move it from the same champion. MLflow's servers know no such step, so that
    two machines which move it within the same few milliseconds may both be told that they did; the alias then names the
    later one, and the history has both.

    Raises:
        AdapterError: the version was retired, or gates would promote what a person rejected, just before.
        TrackingError: the registry did not answer.
    """
    with store.answering("move champion"), store.alone(domain):
        if _number(domain) != before:
            return False
        _check_may_serve(domain, number, kind)
        store.client().set_registered_model_alias(domain, "champion", number)
        if _number(domain) != number:  # another machine was later
            return False
        _note(domain, Move(_now(), kind, number, before, by, reason[:REASON_CHARS]))
        return True


def reject_version(domain: str, number: str, said: str) -> bool:
    """Keep a version from the gates unless it is champion just now; tell whether it is kept from them.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering(f"reject version {number}"), store.alone(domain):
        if _number(domain) == number:
            return False
        tag(domain, number, {"rejected": said})
        return True


def moves(domain: str) -> list[Move]:
    """Return how the champion changed, the first move first.

    Raises:
        TrackingError: the registry did not answer.
    """
    with store.answering("read the history"):
        store.prepare_store()
        found = store.client().search_registered_models(f"name = '{domain}'")
        tags = found[0].tags if found else {}
        return [Move(**json.loads(tags[key])) for key in sorted(tags) if key.startswith(PREFIX)]


def earlier(history: Sequence[Move], current: str | None, retired: Collection[str] = ()) -> str | None:
    """Return the version that was champion before the current one and may serve again, as a rollback means it.

    A rollback takes back what came after its target; so a second one goes further back, not forth again. A move that was
    not written down, since the process was killed just then, is known from what its successor found.
    """
    stack: list[str] = []
    for move in history:
        if move.before is not None and stack[-1:] != [move.before]:
            stack.append(move.before)
        if move.kind == "rollback" and move.version in stack:
            del stack[stack.index(move.version) :]
        stack.append(move.version)
    return next((number for number in reversed(stack) if number != current and number not in retired), None)


def _check_may_serve(domain: str, number: str, kind: Kind) -> None:
    """Ask again where nobody else can change the answer: between the decision and now somebody may have forgotten a row."""
    entry = described(domain, number)
    barred = entry.barred if kind == "promoted" else entry.retired
    if barred:
        raise AdapterError(
            f"version {number} of {domain!r} cannot become champion: {barred}; `loramill history {domain}` lists the others"
        )


def _number(domain: str) -> str | None:
    found = aliased(domain, "champion")
    return str(found.version) if found is not None else None


def _note(domain: str, move: Move) -> None:
    """Write a move that has happened; that it could not be written takes nothing back, so it only warns."""
    try:
        written = json.dumps(asdict(move), ensure_ascii=False)
        store.client().set_registered_model_tag(domain, f"{PREFIX}{move.at}", written)
    except Exception as error:  # whatever MLflow, its database or the disk raise
        log.warning("the history of champions missed a move to version %s: %s", move.version, store.first_line(error))


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"
