"""The proof, for a person who knows the domain and no machine learning: verdict, answers, rules, what to write next."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, isfinite
from pathlib import PurePath
from typing import Any, Final

from loramill.evaluation.advice import advise, rows_needed
from loramill.evaluation.examples import ORDER, SHOWN, Scores, examples, opponent, row_gains
from loramill.evaluation.pictures import draw_curves, draw_gains
from loramill.evaluation.plain import TEMPLATES, plain_words
from loramill.pages.render import render

FAILING: Final = 20
"""Answers listed that break a rule; the scores hold all."""
PASSAGES: Final = 5
SAMENESS: Final = 0.25
"""Share of answers with one untaught phrase from which a reader is warned, whatever the verdict."""
ENDLESS: Final = 0.8
"""Share of answers that end by themselves below which a reader is warned."""


@dataclass(frozen=True)
class Claim:
    """One verdict as the page tells it. Gains are factors: how many times as likely the reference's words became."""

    reference: str
    outcome: str
    rows: int | None
    times: str | None
    low: str | None
    high: str | None
    detectable: str | None
    """Smallest factor that so many rows show four times in five."""
    chance: str | None
    ahead: int
    """Rows on which the challenger is nearer to the reference answer."""
    behind: int
    needed: int | None
    """Rows that would prove a gain as large as the one seen."""
    picture: str | None


def proof_page(scores: Scores, ruling: Mapping[str, Any] | None = None, curves: Mapping[str, Any] | None = None) -> str:
    """Return the proof as one self-contained HTML file, in Chinese and English.

    Args:
        scores: what ``evaluate`` left; sections that it lacks are left out of the page.
        ruling: what ``promote`` left; none, or one about another adapter, says that nothing is decided yet.
        curves: ``train`` (loss per step) and ``validation`` (loss before the first and after each epoch).
    """
    plain = plain_words()
    decided = ruling if ruling and ruling.get("adapter") == scores.get("challenger") else None
    shown = examples(scores)
    values = {
        "domain": str(scores.get("domain", "")),
        "plain": plain,
        "base": PurePath(str(scores.get("base", ""))).name,
        "adapter": str(scores.get("challenger") or "")[:12],
        "rows": scores.get("rows") or len(scores.get("per_row") or []),
        "answered": len(scores.get("answers") or []),
        "members": [member for member in ORDER if member in (scores.get("loss") or {})],
        "opponent": opponent(scores),
        "claims": _claims(scores),
        "cautions": _cautions(scores),
        "ruling": decided,
        "decision": plain["decisions"].get((decided or {}).get("decision")),
        "gates": _gates(decided or {}),
        "examples": [(each, times(each.gain)) for each in shown],
        "chosen": len(shown) if any(each.place for each in shown) else 0,
        "shown": SHOWN,
        **_sections(scores),
        "curves": draw_curves(curves["train"], curves["validation"]) if curves else None,
        "advice": advise(scores),
    }
    return render(TEMPLATES, "proof.html", values)


def proof_markdown(scores: Scores, ruling: Mapping[str, Any]) -> str:
    """Return verdicts and decision as a Markdown table, for a place that shows no page."""
    lines = [f"**{scores.get('domain', '')}: {ruling.get('decision', '')}**", "", "| against | verdict |", "|---|---|"]
    verdicts = (scores.get("verdicts") or {}).items()
    lines += [f"| {reference} | {verdict.get('outcome', '')} |" for reference, verdict in verdicts]
    reasons = [" ".join(str(reason).split()) for reason in ruling.get("reasons") or []]
    return "\n".join([*lines, "", *(f"- {reason}" for reason in reasons)]) + "\n"


def times(gain: float | None) -> str | None:
    """Return a gain in nats per token as a factor: 1.65 is ``5.2``; none of what is no number."""
    if gain is None or not isfinite(gain):
        return None
    factor = exp(min(gain, 50.0))
    if factor >= 1000:
        return "> 1,000"
    return f"{factor:,.0f}" if factor >= 100 else f"{factor:.1f}" if factor >= 3 else f"{factor:.2f}"


def _claims(scores: Scores) -> list[Claim]:
    """Return the verdicts, the one that matters most first."""
    verdicts = scores.get("verdicts") or {}
    return [_claim(scores, reference, verdicts[reference]) for reference in ORDER if reference in verdicts]


def _claim(scores: Scores, reference: str, verdict: Mapping[str, Any]) -> Claim:
    gains = list(row_gains(scores, reference).values())
    p_value = verdict.get("p_value")
    return Claim(
        reference=reference,
        outcome=str(verdict.get("outcome", "")),
        rows=verdict.get("rows"),
        times=times(verdict.get("gain")),
        low=times(verdict.get("low")),
        high=times(verdict.get("high")),
        detectable=times(verdict.get("detectable")),
        chance=None if p_value is None else "< 0.1 %" if p_value < 0.001 else f"{p_value:.1%}".replace("%", " %"),
        ahead=sum(gain > 0 for gain in gains),
        behind=sum(gain < 0 for gain in gains),
        needed=rows_needed(verdict),
        picture=draw_gains(gains),
    )


def _cautions(scores: Scores) -> list[dict[str, Any]]:
    """Return what a reader has to know before believing any verdict: a loss can fall while the answers stay useless."""
    phrases = ((scores.get("recitation") or {}).get("challenger") or {}).get("stock_phrases") or []
    stopped = ((scores.get("measures") or {}).get("challenger") or {}).get("stopped")
    found: list[dict[str, Any]] = []
    if phrases and phrases[0]["share"] >= SAMENESS:
        found.append(
            {"kind": "phrases", "share": phrases[0]["share"], "phrase": phrases[0]["phrase"].strip("，。,. \n")}
        )
    if stopped is not None and stopped < ENDLESS:
        found.append({"kind": "stopped", "share": stopped})
    return found


def _gates(ruling: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the gates; those of an earlier version, which left no data, in its own words."""
    if "gates" in ruling:
        return list(ruling["gates"])
    return [{"passed": None, "zh": "", "said": str(reason)} for reason in ruling.get("reasons") or []]


def _sections(scores: Scores) -> dict[str, Any]:
    """Return what was found besides the loss; nothing for a section that was not measured."""
    rules, recitation = scores.get("rules") or {}, (scores.get("recitation") or {}).get("challenger")
    general = scores.get("general")
    mine = rules.get("challenger") or {}
    return {
        "rules": _rule_rows(rules),
        "chinese": {each["rule"]: each["name_zh"] for each in mine.get("by_rule") or [] if each.get("name_zh")},
        "rates": {member: found for member, found in rules.items() if found.get("pass_rate") is not None},
        "failing": (mine.get("failing") or [])[:FAILING],
        "failing_count": len(mine.get("failing") or []),
        "recitation": recitation,
        "recited": _quotes((recitation or {}).get("recited")),
        "phrases": _quotes((recitation or {}).get("stock_phrases")),
        "personal": (recitation or {}).get("personal") or [],
        "general": general,
        "everyday": times(abs(general["rise"])) if general else None,
        "contradictions": (scores.get("contradictions") or {}).get("challenger"),
        "judge": scores.get("judge"),
        "measures": _measures(scores),
    }


def _quotes(found: Sequence[Any] | None) -> Sequence[Any]:
    return (found or ())[:PASSAGES]


def _rule_rows(rules: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return each rule with what every member makes of it."""
    members = [member for member in ORDER if member in rules]
    rates = {member: {each["rule"]: each for each in rules[member].get("by_rule") or []} for member in members}
    return [
        {**rule, "by": {member: rates[member][name] for member in members if name in rates[member]}}
        for name, rule in (rates[members[0]] if members else {}).items()
    ]


def _measures(scores: Scores) -> list[dict[str, Any]]:
    """Return each further figure with every member's value, and whether the difference is proven."""
    measures, compared = scores.get("measures") or {}, scores.get("compared") or {}
    names = {name: None for found in measures.values() for name, value in found.items() if value is not None}
    verdicts = compared.get(opponent(scores)) or {}
    return [
        {
            "name": name,
            "by": {member: found.get(name) for member, found in measures.items()},
            "outcome": (verdicts.get(name) or {}).get("outcome", ""),
        }
        for name in names
    ]
