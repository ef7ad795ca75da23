"""When the champion changes: what must be proven, what must not have happened, and what was.

A gate without a figure says "not measured"; the configuration says whether that passes. docs/promotion.md describes each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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
RECITED: Final = "training answers by heart"


@dataclass(frozen=True)
class Standing:
    """What is known about the challenger besides its scores."""

    domain: str
    champion: str | None = None
    """Digest of the champion in service now."""
    is_champion: bool = False
    """The challenger is that champion."""
    barred: str = ""
    """Why a person or a removed row keeps it from serving; empty if nothing does."""
    learnt: frozenset[str] = frozenset()
    """Ids of the rows that it learnt."""


@dataclass(frozen=True)
class Gate:
    """What one gate says."""

    name: str
    is_passed: bool
    said: str
    is_measured: bool = True

    @property
    def words(self) -> str:
        """The gate in one line."""
        mark = ("passed" if self.is_passed else "failed") + ("" if self.is_measured else ", not measured")
        return f"{mark}: {self.said}"


@dataclass(frozen=True)
class Ruling:
    """The decision, and each gate in plain words."""

    decision: Decision
    reasons: tuple[str, ...]
    failed: tuple[str, ...] = ()
    """Names of the gates that were not passed."""


def rule(config: PromoteConfig, scores: Scores, standing: Standing) -> Ruling:
    """Decide whether the challenger becomes champion.

    Scores that were made against another champion than the one in service decide nothing: it is evaluated again.
    """
    if standing.is_champion:
        return Ruling("already champion", ("this adapter is the champion in service",))
    if stale := _stale(scores, standing):
        return Ruling("not judged", (f"failed: {stale}",), ("same champion",))
    gates = tuple(_gates(config, scores, standing))
    failed = tuple(gate.name for gate in gates if not gate.is_passed)
    reasons = tuple(gate.words for gate in gates)
    if failed:
        return Ruling("kept the champion" if standing.champion else "no champion yet", reasons, failed)
    return Ruling("promoted" if config.approval == "none" else "waits for approval", reasons)


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
    if standing.barred:
        yield Gate("allowed", False, standing.barred)
    yield from _held_out(scores, standing)
    yield from _proofs(config, scores, standing)
    yield from _guards(config, scores)
    yield from (
        gate for gate in (_forgetting(config, scores), _rules(config, scores), _recitation(config, scores)) if gate
    )


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
        yield Gate("held out", False, f"{len(known)} of the test rows were learnt, {known[0]} among them; split again")


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
        False,
        f"champion {standing.champion[:12]} was not compared with: it is newer than the scores, stands on another base, is of "
        f"another kind or cannot be read. Evaluate again (`{_again(standing)}`); or a person decides: "
        f"`loramill approve {standing.domain} --by NAME --reason TEXT`",
        is_measured=False,
    )


def _again(standing: Standing) -> str:
    return f"dvc repro --force --single-item evaluate@{standing.domain} promote@{standing.domain}"


def _proof(reference: str, asked: str, verdicts: Mapping[str, Mapping[str, Any]]) -> Gate:
    if reference not in verdicts:
        return Gate(f"over {reference}", False, f"no verdict against {reference}", is_measured=False)
    said = verdicts[reference]["outcome"]
    good = said == "better" or (asked == "not worse" and said != "worse")
    return Gate(f"over {reference}", good, f"against {reference} the test rows say {said!r}, asked for {asked!r}")


def _guards(config: PromoteConfig, scores: Scores) -> Iterator[Gate]:
    """Look for a drop anywhere that matters, against the champion or, without one, the base."""
    paired: Paired = scores.get("paired", {})
    reference = "champion" if "champion" in scores.get("verdicts", {}) else "base"
    found = drops(paired, reference, config.no_worse)
    for measure in config.no_worse:
        name = f"no drop of {measure}"
        if measure not in found:
            yield _unmeasured(config, name, f"{measure} against {reference}")
            continue
        challenger, other = _same_rows(paired[measure], reference)
        mean = fmean(challenger) - fmean(other)
        yield Gate(
            name,
            found[measure] > config.harm,
            f"{measure} against {reference} {mean:+.3f} in the mean, p of a drop {found[measure]:.4f} (limit {config.harm})",
        )


def _forgetting(config: PromoteConfig, scores: Scores) -> Gate | None:
    if not config.forgetting:
        return None
    general = scores.get("general")
    if not general:
        return _unmeasured(config, "forgetting", "loss on everyday questions")
    said = f"loss on everyday questions rose by {general['rise']:.3f} nats per token, budget {general['budget']:.3f}"
    return Gate("forgetting", bool(general["within"]), said)


def _rules(config: PromoteConfig, scores: Scores) -> Gate | None:
    if config.min_rules is None:
        return None
    rate = scores.get("rules", {}).get("challenger", {}).get("pass_rate")
    if rate is None:
        return _unmeasured(config, "rules", "share of answers that keep every rule")
    said = f"{rate:.0%} of the answers keep every rule, asked for {config.min_rules:.0%}"
    return Gate("rules", rate >= config.min_rules, said)


def _recitation(config: PromoteConfig, scores: Scores) -> Gate | None:
    if not config.recitation:
        return None
    found = scores.get("recitation", {}).get("challenger")
    if not found:
        return _unmeasured(config, "recitation", RECITED)
    private = any(each.get("learnt") for each in found.get("personal", []))
    what = [word for word, is_so in (("training answers", found["recites"]), ("personal data", private)) if is_so]
    if not what and found.get("asked") == 0:  # scores of earlier versions do not say how many were asked
        return _unmeasured(config, "recitation", f"{RECITED}: no training question was asked")
    return Gate("recitation", not what, f"recites {' and '.join(what) or 'nothing'} of its training rows")


def _unmeasured(config: PromoteConfig, name: str, what: str) -> Gate:
    return Gate(name, config.unmeasured == "pass", what, is_measured=False)


def _same_rows(members: Mapping[str, Any], reference: str) -> tuple[Losses, Losses]:
    challenger, other = (np.asarray(members[name], float) for name in ("challenger", reference))
    if challenger.shape != other.shape:
        raise ValueError(f"scores of the same rows are needed, got shapes {challenger.shape} and {other.shape}")
    return challenger, other
