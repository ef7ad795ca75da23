"""The pre-flight itself: records, plan and base in, everything that speaks for and against them out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loramill.config import Plan, Settings
from loramill.pack.facts import BaseFacts
from loramill.pack.memory import shape_of_config
from loramill.preflight.base import Earlier, check_base, window_of
from loramill.preflight.forecast import Forecast, Speed, forecast
from loramill.preflight.power import smallest_gain
from loramill.preflight.problems import Problem
from loramill.preflight.report import Proof, Report
from loramill.preflight.rows import Checked, Limits, RowCheck
from loramill.records import Record


@dataclass(frozen=True)
class Past:
    """What earlier runs of the domain left, as far as there were any."""

    adapter: Earlier | None = None
    settings: Settings | None = None
    spread: float | None = None
    """Standard deviation of the rows' gains in the last evaluation, nats per token."""


@dataclass(frozen=True)
class Rows:
    """Clean records and where each would go."""

    records: Sequence[Record]
    parts: Mapping[str, Sequence[Record]]
    listed: int = 0
    """Rows that the contract dropped."""
    problem: str | None = None
    """Why no split can be made."""


def preflight(domain: str, plan: Plan, base: BaseFacts, rows: Rows, past: Past, speed: Speed) -> Report:
    """Check every row and the base, and work out the plan; all problems are told at once, none by an exception."""
    problems = check_base(base, past.adapter)
    if rows.problem:
        problems.append(Problem("too-few", rows.problem))
    checked: tuple[Checked, ...] = ()
    if not any(problem.rule in {"no-template", "no-stop"} for problem in problems):
        check = RowCheck(base.tokenizer, base.template, Limits(plan.learning.max_tokens, window_of(base)))
        checked = tuple(check(record) for record in rows.records)
    tests = len(rows.parts.get("test", ()))
    return Report(
        domain=domain,
        base=base,
        base_problems=tuple(problems),
        checked=checked,
        listed=rows.listed,
        forecast=_forecast(plan, base, rows, checked, past, speed),
        speed=speed,
        proof=Proof(tests, smallest_gain(tests, plan.evaluate.significance), past.spread),
    )


def _forecast(
    plan: Plan, base: BaseFacts, rows: Rows, checked: Sequence[Checked], past: Past, speed: Speed
) -> Forecast | None:
    rendered = {one.record.id: one.rows for one in checked}
    splits = {part: [row for record in of for row in rendered.get(record.id, ())] for part, of in rows.parts.items()}
    if not splits.get("train") or not splits.get("validation"):
        return None
    return forecast(plan, splits, shape_of_config(base.config), speed, past.settings)
