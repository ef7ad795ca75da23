from pathlib import Path

import numpy as np
import pytest

from loramill.evaluation.score import answers, row_losses
from loramill.pack.members import Pack
from tests.factories import records, rows, tiny_base
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


def test_every_record_is_answered_by_every_member_and_counted(tiny_folder: Path, make_adapter: MakeAdapter) -> None:
    pack = Pack(tiny_base(tiny_folder))
    pack.load("law", make_adapter())
    count: list[None] = []
    given = answers(pack, [None, "law"], records(2), 3, lambda: count.append(None))
    assert [set(texts) for texts in given] == [{None, "law"}] * 2
    assert len(count) == 2
