"""When the champion changes: what must be proven, what must not have happened, and what was.

A gate without a figure says "not measured"; the configuration says whether that passes. docs/promotion.md describes each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any, Final, Literal

import numpy as np

from loramill.config import PromoteConfig
from loramill.evaluation.verdict import Losses, Paired, holm, p_values

Decision = Literal[
    "promoted", "kept the champion", "no champion yet", "already champion", "waits for approval", "not judged"
]
Scores = Mapping[str, Any]
"""What ``evaluate`` left."""
MEASURES: Final = ("loss", "chrf", "rouge_l", "rules")
"""What ``promote.no_worse`` may name."""
RECITED: Final = "training answers by heart"


@dataclass(frozen=True)
class Standing:
    """What is known about the challenger besides its scores."""

    domain: str
    champion: str | None = None
    """Digest of the champion in service now."""
    is_champion: bool = False
    """The challenger is that champion."""
    retired: str = ""
    """Why a removed row keeps it from serving for ever; empty if none does."""
    rejected: str = ""
    """Who rejected it and why; empty if nobody did."""
    learnt: frozenset[str] = frozenset()
    """Ids of the rows that it learnt."""


@dataclass(frozen=True)
class Gate:
    """What one gate says."""

    name: str
    kind: str
    """Its sentence for a person who knows the domain, in `loramill.evaluation.plain`."""
    is_passed: bool | None
    """None: the configuration does not ask for it."""
    said: str
    """The gate in technical words."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What the sentence says of this case."""
    value: float | str | None = None
    limit: float | str | None = None
    """What ``value`` was held against."""
    is_measured: bool = True

    @property
    def words(self) -> str:
        """The gate in one line."""
        mark = ("passed" if self.is_passed else "failed") + ("" if self.is_measured else ", not measured")
        return f"{mark}: {self.said}"


@dataclass(frozen=True)
class Ruling:
    """The decision, and every gate."""

    decision: Decision
    gates: tuple[Gate, ...]

    @property
    def asked(self) -> tuple[Gate, ...]:
        """The gates that the configuration asks for."""
        return tuple(gate for gate in self.gates if gate.is_passed is not None)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Each gate that was asked in one line."""
        return tuple(gate.words for gate in self.asked)

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the gates that were not passed."""
        return tuple(gate.name for gate in self.asked if not gate.is_passed)


def rule(config: PromoteConfig, scores: Scores, standing: Standing) -> Ruling:
    """Decide whether the challenger becomes champion.

    Scores that were made against another champion than the one in service decide nothing: it is evaluated again.
    """
    if standing.is_champion:
        return Ruling(
            "already champion", (Gate("in service", "in service", True, "this adapter is the champion in service"),)
        )
    if stale := _stale(scores, standing):
        return Ruling("not judged", (Gate("same champion", "stale", False, stale),))
    ruling = Ruling(
        "promoted" if config.approval == "none" else "waits for approval", tuple(_gates(config, scores, standing))
    )
    return replace(ruling, decision=kept(standing.champion)) if ruling.failed else ruling


def kept(champion: str | None) -> Decision:
    """Return what a gate that was not passed leads to."""
    return "kept the champion" if champion else "no champion yet"


def drops(paired: Paired, reference: str, measures: tuple[str, ...]) -> dict[str, float]:
    """Return, for each measure that has numbers, Holm's p-value of a drop against the reference.

    A challenger with a number that is none has dropped; a reference with one cannot be compared with, and is left out.

    Raises:
        ValueError: the numbers of the two are not of the same rows.
    """
    found: dict[str, float] = {}
    for measure in measures:
        members = paired.get(measure, {})
        if members.get("challenger") and members.get(reference):
            challenger, other = _same_rows(members, reference)
            if not np.isfinite(challenger).all():
                found[measure] = 0.0
            elif np.isfinite(other).all():
                found[measure] = float(p_values(challenger - other)[1])
    return holm(found)


def _gates(config: PromoteConfig, scores: Scores, standing: Standing) -> Iterator[Gate]:
    yield from _allowed(standing)
    yield from _held_out(scores, standing)
    yield from _proofs(config, scores, standing)
    yield from _guards(config, scores)
    yield _forgetting(config, scores)
    yield _rules(config, scores)
    yield _recitation(config, scores)


def _allowed(standing: Standing) -> Iterator[Gate]:
    for kind, why in (("it was retired", standing.retired), ("a person rejected it", standing.rejected)):
        if why:
            yield Gate("allowed", kind, False, f"{kind}: {why}", {"why": why})


def _stale(scores: Scores, standing: Standing) -> str:
    """Say what is wrong if the scores name a champion that is not the one in service."""
    scored = scores.get("champion")
    if scored is None or scored == standing.champion:
        return ""
    now = f"{standing.champion[:12]} is" if standing.champion else "there is none"
    return f"the scores were made against champion {scored[:12]}, now {now} in service; evaluate again: `{_again(standing)}`"


def _held_out(scores: Scores, standing: Standing) -> Iterator[Gate]:
    known = [row["id"] for row in scores.get("per_row", []) if row.get("id") in standing.learnt]
    if known:
        said = f"{len(known)} of the test rows were learnt, {known[0]} among them; split again"
        yield Gate("held out", "held out", False, said, {"count": str(len(known))}, len(known), 0)


def _proofs(config: PromoteConfig, scores: Scores, standing: Standing) -> Iterator[Gate]:
    """Ask the verdicts; a champion that could not be compared with is not beaten."""
    verdicts = scores.get("verdicts", {})
    yield _proof("base", config.over_base, verdicts)
    if standing.champion is None:
        return
    if "champion" in verdicts:
        yield _proof("champion", config.over_champion, verdicts)
        return
    yield Gate(
        "over champion",
        "not compared",
        False,
        f"champion {standing.champion[:12]} was not compared with: it is newer than the scores, stands on another base, is of "
        f"another kind or cannot be read. Evaluate again (`{_again(standing)}`); or a person decides: "
        f"`loramill approve {standing.domain} --by NAME --reason TEXT`",
        is_measured=False,
    )


def _again(standing: Standing) -> str:
    return f"dvc repro --force --single-item evaluate@{standing.domain} promote@{standing.domain}"


def _proof(reference: str, asked: str, verdicts: Mapping[str, Mapping[str, Any]]) -> Gate:
    name, facts = f"over {reference}", {"reference": reference, "asked": asked}
    if reference not in verdicts:
        said = f"no verdict against {reference}"
        return Gate(name, "no verdict", False, said, facts, limit=asked, is_measured=False)
    outcome = verdicts[reference]["outcome"]
    good = outcome == "better" or (asked == "not worse" and outcome != "worse")
    said = f"against {reference} the test rows say {outcome!r}, asked for {asked!r}"
    return Gate(name, "over", good, said, facts | {"outcome": outcome}, outcome, asked)


def _guards(config: PromoteConfig, scores: Scores) -> Iterator[Gate]:
    """Look for a drop anywhere that matters, against the champion or, without one, the base."""
    paired: Paired = scores.get("paired", {})
    reference = "champion" if "champion" in scores.get("verdicts", {}) else "base"
    found = drops(paired, reference, config.no_worse)
    for measure in config.no_worse:
        name, facts = f"no drop of {measure}", {"measure": measure, "reference": reference}
        if measure not in found:
            yield _unmeasured(config, name, f"{measure} against {reference}", facts)
            continue
        challenger, other = _same_rows(paired[measure], reference)
        mean, chance = f"{fmean(challenger) - fmean(other):+.3f}", found[measure]
        said = f"{measure} against {reference} {mean} in the mean, p of a drop {chance:.4f} (limit {config.harm})"
        facts |= {"mean": mean, "chance": f"{chance:.4f}", "limit": str(config.harm)}
        yield Gate(name, "no drop", chance > config.harm, said, facts, chance, config.harm)
    for measure in MEASURES:
        if measure not in config.no_worse:
            yield _not_asked(f"no drop of {measure}", "no drop", {"measure": measure, "reference": reference})


def _forgetting(config: PromoteConfig, scores: Scores) -> Gate:
    if not config.forgetting:
        return _not_asked("forgetting")
    general = scores.get("general")
    if not general:
        return _unmeasured(config, "forgetting", "loss on everyday questions")
    rise, budget = general["rise"], general["budget"]
    said = f"loss on everyday questions rose by {rise:.3f} nats per token, budget {budget:.3f}"
    facts = {"rise": f"{rise:.3f}", "budget": f"{budget:.3f}"}
    return Gate("forgetting", "forgetting", bool(general["within"]), said, facts, rise, budget)


def _rules(config: PromoteConfig, scores: Scores) -> Gate:
    asked = config.min_rules
    if asked is None:
        return _not_asked("rules")
    rate = scores.get("rules", {}).get("challenger", {}).get("pass_rate")
    if rate is None:
        return _unmeasured(config, "rules", "share of answers that keep every rule")
    said = f"{rate:.0%} of the answers keep every rule, asked for {asked:.0%}"
    return Gate("rules", "rules", rate >= asked, said, {"share": f"{rate:.0%}", "asked": f"{asked:.0%}"}, rate, asked)


def _recitation(config: PromoteConfig, scores: Scores) -> Gate:
    if not config.recitation:
        return _not_asked("recitation")
    found = scores.get("recitation", {}).get("challenger")
    if not found:
        return _unmeasured(config, "recitation", RECITED)
    private = any(each.get("learnt") for each in found.get("personal", []))
    what = [word for word, is_so in (("training answers", found["recites"]), ("personal data", private)) if is_so]
    if not what and found.get("asked") == 0:  # scores of earlier versions do not say how many were asked
        return _unmeasured(config, "recitation", f"{RECITED}: no training question was asked")
    recited = " and ".join(what) or "nothing"
    said = f"recites {recited} of its training rows"
    return Gate("recitation", "recitation", not what, said, {"what": recited}, recited, "nothing")


def _unmeasured(config: PromoteConfig, name: str, what: str, facts: Mapping[str, str] | None = None) -> Gate:
    kind = f"{'no drop' if facts else name}, not measured"
    return Gate(name, kind, config.unmeasured == "pass", what, facts or {}, is_measured=False)


def _not_asked(name: str, kind: str = "", facts: Mapping[str, str] | None = None) -> Gate:
    return Gate(name, f"{kind or name}, not measured", None, "not asked", facts or {}, is_measured=False)


def _same_rows(members: Mapping[str, Any], reference: str) -> tuple[Losses, Losses]:
    challenger, other = (np.asarray(members[name], float) for name in ("challenger", reference))
    if challenger.shape != other.shape:
        raise ValueError(f"scores of the same rows are needed, got shapes {challenger.shape} and {other.shape}")
    return challenger, other
