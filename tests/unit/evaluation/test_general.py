import math

import pytest

from loramill.evaluation.general import forgetting, general_probe


def test_the_probe_is_ours_bilingual_and_frozen() -> None:
    probe = general_probe()
    chinese = [record for record in probe if any("\u4e00" <= mark <= "\u9fff" for mark in record.question)]
    assert (len(probe), len(chinese)) == (24, 12)
    assert len({record.id for record in probe}) == 24
    assert (probe[0].id, probe[-1].id) == (
        "dff23f85e56e98a2",
        "d4786cc90988864a",
    )  # a changed probe cannot be compared with older numbers


@pytest.mark.parametrize(("after", "within"), [(3.5, True), (3.5001, False), (2.0, True), (math.nan, False)])
def test_a_rise_beyond_the_budget_is_forgetting(after: float, within: bool) -> None:
    found = forgetting({"base": 3.0, "challenger": after, "champion": 3.2}, 0.5)
    assert (found.before, found.champion, found.budget) == (3.0, 3.2, 0.5)
    assert found.within is within


def test_without_a_champion_its_loss_is_none() -> None:
    assert forgetting({"base": 3.0, "challenger": 3.0}, 0.5).champion is None
