"""Whether rows are to be learnt from as they are, or a person has to look at them first."""

from dataclasses import dataclass
from typing import Final

from loramill.config import ValidationConfig
from loramill.data.contract import Outcome

LOST: Final = {
    "undecodable",
    "nul-byte",
    "git-lfs-pointer",
    "damaged-file",
    "unreadable",
    "too-large",
    "not-json",
    "truncated",
}
"""Rules by which a whole file is lost, with how many rows nobody knows."""
NAMED: Final = 20
"""Lost files that are named; all are in the report."""


@dataclass(frozen=True)
class Objection:
    """Why a run stops at its rows."""

    kind: str
    """Its name in ``templates/plain_words.yaml``."""
    reason: str
    """With numbers and the next move, for who runs it."""


def objection(outcome: Outcome, config: ValidationConfig, listed: str) -> Objection | None:
    """Return why these rows are not to be learnt from; nothing if they are.

    Args:
        outcome: what the contract says.
        config: how few rows, and how large a share of dropped ones, are borne.
        listed: where every dropped row is listed.
    """
    if lost := _lost_files(outcome):
        named = "".join(f"\n  {file}: {reason}" for file, reason in list(lost.items())[:NAMED])
        return Objection(
            "lost-files",
            f"nothing could be read of {len(lost)} of the files, and nobody knows how many rows that is; "
            f"mend them, or take them out of the folder if they are not needed:{named}",
        )
    kept, dropped = len(outcome.kept), len(outcome.dropped)
    if kept < config.min_rows:
        return Objection(
            "too-few-rows",
            f"{kept} usable rows of {outcome.read}, validation.min_rows asks for {config.min_rows}; "
            f"{listed} names every dropped row. Mend those or write more{_mostly(outcome)}",
        )
    if dropped > config.max_dropped * outcome.read:
        return Objection(
            "too-many-dropped",
            f"{dropped} of {outcome.read} rows were dropped, more than validation.max_dropped allows "
            f"({config.max_dropped:.0%}); {listed} names each with its reason, and dropped.csv beside it holds what they say. "
            f"Mend them, or raise the share if that is as it should be{_mostly(outcome)}",
        )
    return None


def _lost_files(outcome: Outcome) -> dict[str, str]:
    """Return the files of which nothing could be read, each with its first reason."""
    lost: dict[str, str] = {}
    for row in outcome.dropped:
        file = row.source.rpartition(":")[0]
        counts = outcome.files[file]
        if row.rule in LOST and counts["rows"] == counts["refused"]:
            lost.setdefault(file, row.reason)
    return lost


def _mostly(outcome: Outcome) -> str:
    """Name the most frequent reasons, each with its first row: the report may be long."""
    first = {row.rule: row for row in reversed(outcome.dropped)}
    most = list(outcome.reasons.items())[:3]
    lines = [f"\n  {count} x {rule}, first {first[rule].source}: {first[rule].reason}" for rule, count in most]
    return f". Most frequent:{''.join(lines)}" if lines else ""
