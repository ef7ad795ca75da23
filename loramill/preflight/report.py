"""Everything that the pre-flight found, for the terminal, the page and machines."""

from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from loramill.pack.facts import BaseFacts
from loramill.preflight.forecast import Forecast, Speed, Stage
from loramill.preflight.problems import Problem, errors
from loramill.preflight.rows import Checked


@dataclass(frozen=True)
class Proof:
    """What the test rows will be able to show."""

    rows: int
    deviations: float
    """Smallest gain that is proven four times in five, in standard deviations of the rows' differences."""
    spread: float | None
    """That standard deviation in the last evaluation, nats per token."""

    @property
    def gain(self) -> float | None:
        """The same in nats per token."""
        return None if self.spread is None else self.deviations * self.spread


@dataclass(frozen=True)
class Report:
    """The pre-flight of one domain."""

    domain: str
    base: BaseFacts
    base_problems: tuple[Problem, ...]
    checked: tuple[Checked, ...]
    listed: int
    """Rows that the contract dropped before: they are in the report of ``validate``."""
    forecast: Forecast | None
    """None where no row can be rendered or no split can be made."""
    speed: Speed
    proof: Proof

    @property
    def problems(self) -> list[Problem]:
        """All objections, the base's first."""
        return [*self.base_problems, *(problem for checked in self.checked for problem in checked.problems)]

    @property
    def is_ready(self) -> bool:
        """Whether nothing stops."""
        return not errors(self.problems)

    def facts(self) -> dict[str, Any]:
        """Return what a machine may want to read, without any row's text."""
        plan = self.forecast
        return {
            "domain": self.domain,
            "ready": self.is_ready,
            "base": self.base.name,
            "records": len(self.checked),
            "dropped_by_contract": self.listed,
            "problems": [{"level": problem.level, **asdict(problem)} for problem in self.problems],
            "rows": plan.rows if plan else {},
            "tokens": {name: asdict(getattr(plan, name)) for name in ("prompt", "answer", "row")} if plan else {},
            "search": _stage(plan.search) if plan else None,
            "train": _stage(plan.train) if plan else None,
            "speed": asdict(self.speed),
            "smallest_gain": {
                "test_rows": self.proof.rows,
                "standard_deviations": self.proof.deviations if isfinite(self.proof.deviations) else None,
                "nats_per_token": self.proof.gain if self.proof.gain is None or isfinite(self.proof.gain) else None,
            },
        }


def _stage(stage: Stage) -> dict[str, Any]:
    memory = asdict(stage.memory) | {"total": stage.memory.total} if stage.memory else None
    return {"steps": stage.steps, "tokens": stage.tokens, "seconds": stage.seconds, "memory_bytes": memory}


def rows_to_show(checked: tuple[Checked, ...], count: int) -> list[Checked]:
    """Return the rows that a person should see: those with a problem, the first ones, and the longest."""
    renderable = [one for one in checked if one.rows]
    longest = max(renderable, key=lambda one: max(len(row.ids) for row in one.rows), default=None)
    chosen = {id(one) for one in renderable[:count]} | {id(longest)}
    return [one for one in checked if one.problems or id(one) in chosen]
