from loramill.prompts import Row
from loramill.training.replay import with_replay

OLD = [Row(f"old{number}", (number,), 0) for number in range(40)]
NEW = [Row(f"new{number}", (number,), 0) for number in range(5)]


def test_all_fresh_rows_and_so_many_old_ones_come_in_the_order_given() -> None:
    chosen = with_replay([*OLD, *NEW], {row.record_id for row in NEW}, 2.0)
    assert [row for row in chosen if row in NEW] == NEW
    assert len(chosen) == 15
    assert chosen == sorted(chosen, key=[*OLD, *NEW].index)


def test_the_same_fresh_rows_repeat_the_same_old_ones_and_others_repeat_others() -> None:
    fresh = {row.record_id for row in NEW}
    assert with_replay([*OLD, *NEW], fresh, 2.0) == with_replay([*OLD, *NEW], fresh, 2.0)
    assert with_replay([*OLD, *NEW], fresh, 2.0)[:10] != with_replay([*OLD, *NEW[:4]], {*fresh} - {"new4"}, 2.5)[:10]


def test_all_turns_of_a_conversation_come_together() -> None:
    rows = [Row("talk", (1,), 0), Row("talk", (2,), 0), *OLD[:1], *NEW[:1]]
    assert with_replay(rows, {"new0"}, 9.0) == rows
    assert [row.record_id for row in with_replay(rows, {"talk"}, 0.0)] == ["talk", "talk"]
