import pytest

from loramill.config import PromoteConfig
from loramill.evaluation.gates import rule

STRICT = PromoteConfig()
MILD = PromoteConfig(over_base="not worse", over_champion="not worse")


def said(**outcomes: str) -> dict[str, dict[str, str]]:
    return {reference: {"outcome": outcome} for reference, outcome in outcomes.items()}


@pytest.mark.parametrize(
    ("config", "base", "champion", "decision"),
    [
        (STRICT, "better", None, "promoted"),
        (STRICT, "not proven", None, "no champion yet"),
        (STRICT, "worse", None, "no champion yet"),
        (STRICT, "better", "better", "promoted"),
        (STRICT, "better", "not proven", "kept the champion"),
        (STRICT, "better", "worse", "kept the champion"),
        (STRICT, "not proven", "better", "kept the champion"),
        (STRICT, "worse", "better", "kept the champion"),
        (MILD, "not proven", None, "promoted"),
        (MILD, "worse", None, "no champion yet"),
        (MILD, "not proven", "not proven", "promoted"),
        (MILD, "better", "worse", "kept the champion"),
        (PromoteConfig(over_champion="not worse"), "not proven", "not proven", "kept the champion"),
        (PromoteConfig(over_champion="not worse"), "better", "not proven", "promoted"),
    ],
)
def test_the_champion_changes_only_on_what_was_asked(
    config: PromoteConfig, base: str, champion: str | None, decision: str
) -> None:
    verdicts = said(base=base) | (said(champion=champion) if champion else {})
    ruling = rule(config, verdicts, is_champion=False)
    assert ruling.decision == decision
    assert len(ruling.reasons) == len(verdicts)


def test_each_gate_is_told_in_words() -> None:
    ruling = rule(STRICT, said(base="better", champion="not proven"), is_champion=False)
    assert ruling.reasons == (
        "passed: against base the test rows say 'better', asked for 'better'",
        "failed: against champion the test rows say 'not proven', asked for 'better'",
    )


@pytest.mark.parametrize("outcome", ["better", "worse", "not proven"])
def test_the_champion_itself_stays_what_it_is(outcome: str) -> None:
    ruling = rule(STRICT, said(base=outcome), is_champion=True)
    assert ruling.decision == "already champion"
    assert ruling.reasons == ("this adapter is the champion in service",)
