from hypothesis import given, settings
from hypothesis import strategies as st

from loramill.data.alike import alike_pairs, groups, pieces

TEXTS = st.lists(st.text("甲乙丙 ", max_size=8), max_size=8)
QUICK = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def likeness(first: str, second: str) -> float:
    """Jaccard by the book."""
    one, two = pieces(first), pieces(second)
    return len(one & two) / len(one | two)


def test_pieces_are_three_characters_without_spaces() -> None:
    assert pieces("甲 乙\n丙丁") == {"甲乙丙", "乙丙丁"}
    assert pieces("甲乙") == {"甲乙"}
    assert pieces("") == pieces(" \t")


@QUICK
@given(TEXTS, st.floats(0.01, 1.0))
def test_pairs_are_those_that_brute_force_finds(texts: list[str], threshold: float) -> None:
    brute = {
        (first, second): likeness(texts[first], texts[second])
        for second in range(len(texts))
        for first in range(second)
        if likeness(texts[first], texts[second]) >= threshold
    }
    found = alike_pairs(texts, threshold)
    assert {(first, second): value for first, second, value in found} == brute
    assert len(found) == len(brute)


@QUICK
@given(
    st.integers(1, 10).flatmap(
        lambda size: st.tuples(st.just(size), st.lists(st.tuples(*[st.integers(0, size - 1)] * 2)))
    )
)
def test_groups_are_the_connected_parts_named_by_their_smallest(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    size, edges = drawn
    reach = [{item} for item in range(size)]
    for _ in range(size):
        for first, second in edges:
            both = reach[first] | reach[second]
            for item in both:
                reach[item] = reach[item] | both
    assert groups(size, [(first, second, 1.0) for first, second in edges]) == [min(part) for part in reach]


def test_a_threshold_is_reached_by_equality() -> None:
    """Two of four pieces in common: 甲乙丙 and 乙丙丁 of 甲乙丙, 乙丙丁, 丙丁戊, 丙丁己."""
    assert alike_pairs(["甲乙丙丁戊", "甲乙丙丁己"], 0.5) == [(0, 1, 0.5)]
    assert alike_pairs(["甲乙丙丁戊", "甲乙丙丁己"], 0.51) == []
