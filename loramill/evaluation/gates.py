"""When the champion changes: what must be proven, and what was."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from loramill.config import PromoteConfig

Decision = Literal["promoted", "kept the champion", "no champion yet", "already champion"]


@dataclass(frozen=True)
class Ruling:
    """The decision, and each gate in plain words."""

    decision: Decision
    reasons: tuple[str, ...]


def rule(config: PromoteConfig, verdicts: Mapping[str, Mapping[str, Any]], *, is_champion: bool) -> Ruling:
    """Decide whether the challenger becomes champion.

    Args:
        config: the gates.
        verdicts: by reference (``base``, and ``champion`` if there is one), as `Verdict` fields.
        is_champion: the challenger is the champion in service already.
    """
    if is_champion:
        return Ruling("already champion", ("this adapter is the champion in service",))
    asked = {"base": config.over_base, "champion": config.over_champion}
    passed, reasons = True, []
    for reference, verdict in verdicts.items():
        good = verdict["outcome"] == "better" or (asked[reference] == "not worse" and verdict["outcome"] != "worse")
        passed = passed and good
        said, mark = verdict["outcome"], "passed" if good else "failed"
        reasons.append(f"{mark}: against {reference} the test rows say {said!r}, asked for {asked[reference]!r}")
    if passed:
        return Ruling("promoted", tuple(reasons))
    return Ruling("kept the champion" if "champion" in verdicts else "no champion yet", tuple(reasons))
