"""Rules that a domain expert wrote in ``conf/``: which answers keep them, how sure the shares are, and which answers fail.

Every pattern runs against a clock: one that would take for ever on some text counts as broken there, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from loramill.config import AnswerRule, Articles, compile_pattern
from loramill.evaluation.citations import unknown_citations
from loramill.records import Record

if TYPE_CHECKING:
    import regex

SECONDS: Final = 0.5
"""Time a pattern has for one text."""
SHOWN: Final = 3
"""Findings quoted of one answer."""


@dataclass(frozen=True)
class Check:
    """A rule, ready to be held against answers."""

    rule: AnswerRule
    patterns: "Mapping[str, tuple[regex.Pattern[str], ...]]"
    """By field of the rule."""
    articles: Articles


@dataclass(frozen=True)
class Failure:
    """An answer that breaks a rule."""

    question: str
    answer: str
    rule: str
    reason: str


@dataclass(frozen=True)
class RuleRate:
    """How often one rule was kept, of the answers that it concerns; the interval is exact (Clopper and Pearson), at 95 %."""

    rule: str
    reason: str
    weight: float
    passed: int
    rows: int
    low: float
    high: float
    name_zh: str | None = None
    reason_zh: str | None = None


@dataclass(frozen=True)
class Rates:
    """One member's answers held against all rules."""

    pass_rate: float | None
    """Share of answers that keep every rule that concerns them; none without answers or rules."""
    low: float
    """Lower end of the share's exact interval at 95 %."""
    high: float
    """Upper end."""
    by_rule: tuple[RuleRate, ...]
    failing: tuple[Failure, ...]
    shares: tuple[float, ...]
    """For each answer: weight of the rules it keeps, of those that concern it; 1 where none does."""

    def told(self) -> dict[str, Any]:
        """Return what a report holds: all but the single shares."""
        return {key: value for key, value in asdict(self).items() if key != "shares"}


def make_check(rule: AnswerRule, articles: Articles) -> Check:
    """Compile a rule; ``articles`` is the table it cites, empty if it cites none."""
    fields = ("when", "must", "before", "must_not", "from_question")
    return Check(rule, {field: tuple(map(compile_pattern, getattr(rule, field))) for field in fields}, articles)


def rate(checks: Sequence[Check], records: Sequence[Record], answers: Sequence[str]) -> Rates:
    """Hold one answer to each record against all rules."""
    rows = [_held(checks, record, answer) for record, answer in zip(records, answers, strict=True)]
    kept = sum(all(problem is None for problem in row.values()) for row in rows)
    low, high = interval(kept, len(rows))
    return Rates(
        pass_rate=kept / len(rows) if rows and checks else None,
        low=low,
        high=high,
        by_rule=tuple(_rule_rate(check.rule, rows) for check in checks),
        failing=tuple(
            Failure(record.question, answer, name, problem)
            for record, answer, row in zip(records, answers, rows, strict=True)
            for name, problem in row.items()
            if problem is not None
        ),
        shares=tuple(_share(checks, row) for row in rows),
    )


def interval(passed: int, rows: int) -> tuple[float, float]:
    """Return the exact interval (Clopper and Pearson) of a share at 95 %; 0 to 1 where nothing was seen."""
    from scipy.stats import binomtest

    if rows == 0:
        return 0.0, 1.0
    found = binomtest(passed, rows).proportion_ci(method="exact")
    return float(found.low), float(found.high)


def _held(checks: Sequence[Check], record: Record, answer: str) -> dict[str, str | None]:
    """Return, by each rule that concerns a row, what is wrong with the answer, or nothing."""
    before = "\n".join(message.content for message in record.asked)
    held: dict[str, str | None] = {}
    for check in checks:
        try:
            if not check.rule.when or _first(check.patterns["when"], record.question) is not None:
                held[check.rule.name] = _problem(check, before, answer)
        except TimeoutError:
            held[check.rule.name] = f"a pattern took longer than {SECONDS} s here: simplify the rule"
    return held


def _problem(check: Check, before: str, answer: str) -> str | None:
    """Return the rule's reason and what was found, if the answer breaks it."""
    rule, patterns = check.rule, check.patterns
    if rule.must and (late := _missing_or_late(patterns, answer)):
        return f"{rule.reason} ({late})"
    if found := _found(patterns["must_not"], answer):
        return f"{rule.reason} (it says {_quoted(found)})"
    if invented := [text for text in _found(patterns["from_question"], answer) if text not in before]:
        return f"{rule.reason} (nobody said {_quoted(invented)})"
    if rule.cites and (unknown := unknown_citations(answer, check.articles)):
        return f"{rule.reason} (not in {rule.cites}: {_quoted(unknown)})"
    return None


def _missing_or_late(patterns: "Mapping[str, tuple[regex.Pattern[str], ...]]", answer: str) -> str | None:
    asked, later = _first(patterns["must"], answer), _first(patterns["before"], answer)
    if asked is None:
        return "it is missing"
    return "it comes too late" if later is not None and later < asked else None


def _first(patterns: "Sequence[regex.Pattern[str]]", text: str) -> int | None:
    """Return where the first of the patterns begins in a text."""
    found = (pattern.search(text, timeout=SECONDS) for pattern in patterns)
    return min((match.start() for match in found if match), default=None)


def _found(patterns: "Sequence[regex.Pattern[str]]", text: str) -> list[str]:
    return [match[0] for pattern in patterns for match in pattern.finditer(text, timeout=SECONDS) if match[0]]


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"「{text}」" for text in dict.fromkeys(texts[:SHOWN]))


def _rule_rate(rule: AnswerRule, rows: Sequence[Mapping[str, str | None]]) -> RuleRate:
    concerned = [row[rule.name] for row in rows if rule.name in row]
    passed = sum(problem is None for problem in concerned)
    low, high = interval(passed, len(concerned))
    return RuleRate(
        rule.name, rule.reason, rule.weight, passed, len(concerned), low, high, rule.name_zh, rule.reason_zh
    )


def _share(checks: Sequence[Check], row: Mapping[str, str | None]) -> float:
    weights = {check.rule.name: check.rule.weight for check in checks if check.rule.name in row}
    kept = sum(weight for name, weight in weights.items() if row[name] is None)
    return kept / sum(weights.values()) if weights else 1.0
