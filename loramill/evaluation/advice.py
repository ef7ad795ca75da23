"""What to write next: where the challenger is worst, and what would make the next comparison decide."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from statistics import fmean
from typing import Any, Final

from loramill.evaluation.examples import Scores, opponent, row_gains

NAMED: Final = 5
"""Questions named in one piece of advice."""
LEAST_ROWS: Final = 3
"""Test rows of a file below which nothing is said about it."""
MOST_ROWS: Final = 2000
"""So many test rows nobody writes: then the gain is as good as none."""


@dataclass(frozen=True)
class Advice:
    """One thing to do; the page holds the words for its kind."""

    kind: str
    values: Mapping[str, Any]


def advise(scores: Scores) -> list[Advice]:
    """Return what to do, what hurts most first."""
    return [*_broken_rules(scores), *_lost(scores), *_far(scores), *_files(scores), *_heart(scores), *_proof(scores)]


def rows_needed(verdict: Mapping[str, Any]) -> int | None:
    """Return with how many rows a true gain as large as the one seen would be proven four times in five; none if unknowable.

    The smallest detectable gain shrinks with the root of the rows.
    """
    gain, detectable, rows = (verdict.get(key) for key in ("gain", "detectable", "rows"))
    if not rows or not gain or not detectable or gain <= 0 or not isfinite(detectable):
        return None
    needed = rows * (detectable / gain) ** 2
    return ceil(needed / 10) * 10 if rows < needed <= MOST_ROWS else None


def _broken_rules(scores: Scores) -> Iterator[Advice]:
    rates = ((scores.get("rules") or {}).get("challenger") or {}).get("by_rule") or []
    broken = [(str(each["rule"]), each["rows"] - each["passed"]) for each in rates if each["passed"] < each["rows"]]
    if broken:
        yield Advice("rules", {"rules": sorted(broken, key=lambda each: -each[1])[:NAMED]})


def _lost(scores: Scores) -> Iterator[Advice]:
    """Name the questions on which the challenger is further from the reference answer than the model before it."""
    gains = row_gains(scores, opponent(scores))
    lost = sorted((key for key, gain in gains.items() if gain < 0), key=lambda key: gains[key])
    if lost:
        yield Advice("lost", {"count": len(lost), "rows": _named(scores, lost), "of": opponent(scores)})


def _far(scores: Scores) -> Iterator[Advice]:
    """Name the questions whose reference answers the challenger expects least."""
    losses = _losses(scores)
    far = sorted(losses, key=lambda key: -losses[key])[:NAMED]
    if len(losses) > NAMED:
        yield Advice("far", {"rows": _named(scores, far)})


def _files(scores: Scores) -> Iterator[Advice]:
    """Name the file whose questions are worst answered, if there are several to compare."""
    losses, by_file = _losses(scores), dict[str, list[float]]()
    for row in scores.get("per_row") or []:
        if row.get("id") in losses:
            by_file.setdefault(str(row.get("source", "")).rpartition(":")[0], []).append(losses[row["id"]])
    means = {file: fmean(values) for file, values in by_file.items() if file and len(values) >= LEAST_ROWS}
    if len(means) > 1:
        worst = max(means, key=lambda file: means[file])
        yield Advice("file", {"file": worst, "rows": len(by_file[worst]), "files": len(means)})


def _heart(scores: Scores) -> Iterator[Advice]:
    found = (scores.get("recitation") or {}).get("challenger") or {}
    if found.get("recites"):
        yield Advice("recites", {"count": len(found.get("recited") or [])})
    if any(each.get("learnt") for each in found.get("personal") or []):
        yield Advice("personal", {})
    pairs = (scores.get("contradictions") or {}).get("challenger") or {}
    if pairs.get("contradictory"):
        yield Advice("contradictions", {"count": pairs["contradictory"]})


def _proof(scores: Scores) -> Iterator[Advice]:
    reference = opponent(scores)
    verdict = (scores.get("verdicts") or {}).get(reference) or {}
    if verdict.get("outcome") == "not proven" and (needed := rows_needed(verdict)):
        yield Advice("exam", {"rows": verdict["rows"], "needed": needed, "of": reference})


def _losses(scores: Scores) -> dict[str, float]:
    return {
        str(row["id"]): row["challenger"] for row in scores.get("per_row") or [] if {"id", "challenger"} <= set(row)
    }


def _named(scores: Scores, keys: Sequence[str]) -> list[dict[str, str]]:
    """Return question and place of rows; the question is known of rows that were answered."""
    questions = {row.get("id"): str(row.get("question", "")) for row in scores.get("answers") or []}
    places = {row.get("id"): str(row.get("source", "")) for row in scores.get("per_row") or []}
    return [{"question": questions.get(key, ""), "source": places.get(key, "")} for key in keys[:NAMED]]
