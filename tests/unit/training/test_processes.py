"""How a step is shared out."""

import pytest

from loramill.prompts import Row
from loramill.training import processes
from loramill.training.processes import own_passes, share


def row(name: str, tokens: int) -> Row:
    return Row(name, tuple(range(tokens)), 1)


WORK = [
    ("a", tuple(row(f"a{i}", 20 + 7 * i) for i in range(5))),
    ("b", (row("b0", 90),)),
    ("c", tuple(row(f"c{i}", 30) for i in range(3))),
]


@pytest.mark.parametrize("shares", [1, 2, 3, 5, 20])
def test_every_row_is_in_one_share_under_its_own_number(shares: int) -> None:
    """A row's number decides its dropout."""
    found = [
        (name, first + index, row)
        for number in range(shares)
        for name, first, rows in share(WORK, number, shares)
        for index, row in enumerate(rows)
    ]
    assert found == [(name, index, row) for name, rows in WORK for index, row in enumerate(rows)]


@pytest.mark.parametrize("shares", [2, 3])
def test_shares_differ_by_no_more_than_the_longest_row(shares: int) -> None:
    tokens = [
        sum(len(row.ids) for _, _, rows in share(WORK, number, shares) for row in rows) for number in range(shares)
    ]
    assert max(tokens) - min(tokens) <= 90


def test_with_fewer_rows_than_shares_some_are_empty() -> None:
    assert [len(list(share(WORK[1:2], number, 3))) for number in range(3)] == [0, 1, 0]


def test_passes_of_a_share_count_rows_from_the_start_of_the_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "world", lambda: 2)
    monkeypatch.setattr(processes, "rank", lambda: 1)
    parts = list(own_passes([("a", tuple(row(f"a{i}", 10) for i in range(6)))], 20))
    assert [[(name, first, len(rows)) for name, first, rows in part] for part in parts] == [
        [("a", 3, 2)],
        [("a", 5, 1)],
    ]
