"""Which answers a person reads: the worst first, some from the middle, the best last, so that no side is hidden."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

Place = Literal["worst", "middle", "best", ""]
WORST: Final = 5
MIDDLE: Final = 2
BEST: Final = 3
SHOWN: Final = WORST + MIDDLE + BEST
ORDER: Final = ("challenger", "champion", "base")

Scores = Mapping[str, Any]
"""What ``evaluate`` left."""


@dataclass(frozen=True)
class Said:
    """One member's answer."""

    member: str
    text: str
    broken: tuple[str, ...]
    """Rules of the domain that it breaks."""


@dataclass(frozen=True)
class Example:
    """One test question with all answers."""

    place: Place
    question: str
    reference: str
    answers: tuple[Said, ...]
    gain: float | None
    """Loss of the other model less that of the challenger, nats per token; none if not known."""


def opponent(scores: Scores) -> str:
    """Return with whom the challenger is compared first: the champion if there is one."""
    return "champion" if "champion" in (scores.get("verdicts") or {}) else "base"


def row_gains(scores: Scores, reference: str) -> dict[str, float]:
    """Return, by row id, how much lower the challenger's loss is than the reference's, in nats per token."""
    rows = scores.get("per_row") or []
    return {str(row["id"]): row[reference] - row["challenger"] for row in rows if {reference, "challenger"} <= set(row)}


def examples(scores: Scores) -> list[Example]:
    """Return ten questions with their answers, from where the challenger gains least to where it gains most."""
    answers: Sequence[Mapping[str, Any]] = scores.get("answers") or []
    gains = row_gains(scores, opponent(scores))
    known = sorted((row for row in answers if row.get("id") in gains), key=lambda row: gains[row["id"]])
    if not known:
        return [_example("", row, None, scores) for row in answers[:SHOWN]]
    return [_example(place, row, gains[row["id"]], scores) for place, row in _spread(known)]


def _spread(ordered: Sequence[Mapping[str, Any]]) -> list[tuple[Place, Mapping[str, Any]]]:
    """Return both ends and the middle; all of them where there are not more than are shown."""
    if len(ordered) <= SHOWN:
        return [("", row) for row in ordered]
    centre = (len(ordered) - MIDDLE) // 2
    centre = min(max(centre, WORST), len(ordered) - BEST - MIDDLE)
    parts: list[tuple[Place, Sequence[Mapping[str, Any]]]] = [
        ("worst", ordered[:WORST]),
        ("middle", ordered[centre : centre + MIDDLE]),
        ("best", ordered[-BEST:]),
    ]
    return [(place, row) for place, rows in parts for row in rows]


def _example(place: Place, row: Mapping[str, Any], gain: float | None, scores: Scores) -> Example:
    said = tuple(
        Said(member, str(row[member]), _broken(scores, member, row)) for member in ORDER if row.get(member) is not None
    )
    return Example(place, str(row.get("question", "")), str(row.get("reference", "")), said, gain)


def _broken(scores: Scores, member: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    failing = ((scores.get("rules") or {}).get(member) or {}).get("failing") or []
    same = (row.get("question"), row.get(member))
    return tuple(str(each["rule"]) for each in failing if (each["question"], each["answer"]) == same)
