import numpy as np
import pytest

from loramill.evaluation.score import row_losses, seconds_per_answer
from loramill.pack.members import Pack
from tests.factories import records, rows
from tests.unit.conftest import MakeAdapter


def test_losses_are_means_per_row_whatever_the_pass(pack: Pack, make_adapter: MakeAdapter) -> None:
    pack.load("law", make_adapter())
    some = rows(pack.base, 5)
    whole = row_losses(pack, [None, "law"], some, 10**6)
    tight = row_losses(pack, [None, "law"], some, 1)
    assert list(whole) == [None, "law"]
    for member, losses in whole.items():
        assert losses.shape == (5,)
        assert tight[member] == pytest.approx(losses, abs=1e-4)
    alone = row_losses(pack, ["law"], some, 10**6)["law"]
    assert alone == pytest.approx(whole["law"], abs=1e-4)
    assert np.abs(whole["law"] - whole[None]).max() > 1e-3
    pack.remove("law")


def test_the_time_of_an_answer_is_a_mean_without_the_first(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 9.0, 10.0, 11.0, 20.0, 23.0])
    monkeypatch.setattr("loramill.evaluation.score.perf_counter", lambda: next(clock))
    monkeypatch.setattr("loramill.evaluation.score.answer", lambda *_, **__: "")
    assert seconds_per_answer(pack, None, records(5), 3) == 2.0
    assert seconds_per_answer(pack, None, [], 3) is None
