"""Lengths, pictures and advice: the numbers behind the page."""

import re

import pytest

from loramill.data.advice import Count, advise_on_test, advise_on_topics, decisive_rows, wins_shown
from loramill.data.lengths import measure
from loramill.pages.pictures import draw_bar, draw_histogram, histogram
from loramill.pages.render import excerpt, percent


def test_a_histogram_counts_every_value_once() -> None:
    values = [3, 3, 17, 18, 25, 40, 41, 5000]
    shape = histogram(values)
    assert sum(shape.counts) == len(values)
    assert shape.low <= 3
    assert len(shape.counts) <= 12
    for place in range(len(shape.counts) - 1):
        low = shape.low + place * shape.step
        assert shape.counts[place] == sum(low <= value < low + shape.step for value in values)


def test_rare_long_values_do_not_flatten_the_picture() -> None:
    shape = histogram([*range(100, 200), 90_000])
    assert shape.is_open
    assert shape.step == 10
    assert "+</text>" in draw_histogram(shape)


def test_one_value_makes_one_column() -> None:
    assert histogram([7] * 4).counts == (4,)
    assert "<svg" in draw_histogram(histogram([7] * 4))


def test_a_bar_is_as_long_as_its_parts() -> None:
    widths = [float(width) for width in re.findall(r' width="([\d.]+)"', draw_bar([("train", 3), ("test", 1)], 8))]
    assert widths == [37.5, 12.5]


def test_strangers_are_found_on_both_sides() -> None:
    found = measure(["x" * size for size in [*range(90, 130), 4, 900]])
    assert found is not None
    assert (found.short, found.long) == ((40,), (41,))
    assert found.middle == 110


def test_rows_of_one_length_and_few_rows_have_no_strangers() -> None:
    same = measure(["x" * 100] * 30 + ["x" * 120])
    assert same is not None
    assert (same.short, same.long) == ((), ())
    few = measure(["x", "x" * 900])
    assert few is not None
    assert few.long == ()
    assert measure([]) is None


def test_a_decisive_test_has_the_power_that_is_claimed() -> None:
    """The t-test on as many rows, with the gain that is called decisive, against scipy's noncentral t."""
    from scipy.stats import nct, t

    def power(rows: int) -> float:
        threshold = t.ppf(0.975, rows - 1)
        return float(nct.sf(threshold, rows - 1, 0.5 * rows**0.5))

    assert power(decisive_rows()) >= 0.8 > power(decisive_rows() - 1)


def test_more_test_rows_show_smaller_gains() -> None:
    shown = [wins_shown(rows) for rows in (2, 10, 34, 41, 400)]
    assert shown[0] == 1.0
    assert shown == sorted(shown, reverse=True)
    assert wins_shown(decisive_rows()) == pytest.approx(0.69, abs=0.01)


def test_missing_test_rows_are_counted_in_rows_to_write() -> None:
    (advice,) = advise_on_test(rows=100, test_rows=14)
    assert (advice.values["missing"], advice.values["more"]) == (20, 143)
    assert advise_on_test(rows=300, test_rows=34) == []
    assert advise_on_test(rows=100, test_rows=0)[0].values["more"] is None


def test_small_and_untested_topics_are_named() -> None:
    topics = [
        Count("工伤", {"train": 30, "test": 5}),
        Count("年假", {"train": 25, "test": 0}),
        Count("试用", {"train": 4, "test": 1}),
        Count("", {"train": 1, "test": 0}),
    ]
    untested, small = advise_on_topics(topics, 0.1)
    assert [topic.name for topic in untested.values["topics"]] == ["年假"]
    assert untested.values["more"] == 22
    assert [topic.name for topic in small.values["topics"]] == ["试用"]
    assert advise_on_topics([], 0.1) == []


def test_an_excerpt_is_one_short_line() -> None:
    assert excerpt("a\n b\t c") == "a b c"
    assert excerpt("长" * 100, 10) == "长" * 10 + "…"
    assert excerpt(" " * 1000 + "a", 10) == "…"


def test_a_small_share_is_never_nothing() -> None:
    assert [percent(share) for share in (0, 0.0001, 0.5)] == ["0\u00a0%", "<1\u00a0%", "50\u00a0%"]
