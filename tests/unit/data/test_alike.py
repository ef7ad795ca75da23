import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loramill.data import alike
from loramill.data.alike import alike_across, alike_groups, alike_pairs, groups, pieces
from loramill.data.fingerprints import extended, fingerprints
from loramill.data.minhash import NEIGHBOURS, RECALL, bands_for, candidates

TEXTS = st.lists(st.text("甲乙丙 ", max_size=8), max_size=8)
HASHES = [788215818, 3342532235]
QUICK = settings(max_examples=40, deadline=None, database=None, derandomize=True)


def likeness(first: str, second: str) -> float:
    """Jaccard by the book."""
    one, two = pieces(first), pieces(second)
    return len(one & two) / len(one | two)


def brute(texts: list[str], threshold: float) -> dict[tuple[int, int], float]:
    """All pairs of texts with unlike pieces; each repetition with the first of its kind only."""
    firsts = [next(first for first, one in enumerate(texts) if pieces(one) == pieces(text)) for text in texts]
    pairs = {(first, row): 1.0 for row, first in enumerate(firsts) if first != row}
    different = sorted(set(firsts))
    every = {(one, two): likeness(texts[one], texts[two]) for two in different for one in different if one < two}
    return pairs | {pair: value for pair, value in every.items() if value >= threshold}


def edited(count: int, share: float, size: int = 60) -> tuple[list[str], list[str]]:
    """Random texts, and each again with some characters replaced."""
    draw = random.Random(5)
    texts = ["".join(chr(draw.randrange(0x4E00, 0x9FA5)) for _ in range(size)) for _ in range(count)]
    twins = []
    for text in texts:
        characters = list(text)
        for place in draw.sample(range(size), round(share * size)):
            characters[place] = "改"
        twins.append("".join(characters))
    return texts, twins


def test_pieces_are_three_characters_without_spaces() -> None:
    assert pieces("甲 乙\n丙丁") == {"甲乙丙", "乙丙丁"}
    assert pieces("甲乙") == {"甲乙"}
    assert pieces("") == pieces(" \t")


@QUICK
@given(TEXTS, st.floats(0.01, 1.0))
def test_pairs_are_those_that_brute_force_finds(texts: list[str], threshold: float) -> None:
    found = alike_pairs(texts, threshold)
    assert {(first, second): value for first, second, value in found} == pytest.approx(brute(texts, threshold))
    assert found == sorted(found)


@QUICK
@given(TEXTS, st.floats(0.01, 1.0))
def test_groups_are_those_of_the_pairs_whatever_the_order(texts: list[str], threshold: float) -> None:
    expected = groups(len(texts), alike_pairs(texts, threshold))
    assert alike_groups(fingerprints(texts), threshold).tolist() == expected
    turned = alike_groups(fingerprints(texts[::-1]), threshold)
    together = {(a, b) for a in range(len(texts)) for b in range(len(texts)) if turned[-1 - a] == turned[-1 - b]}
    assert together == {(a, b) for a in range(len(texts)) for b in range(len(texts)) if expected[a] == expected[b]}


@QUICK
@given(TEXTS, st.floats(0.01, 1.0))
def test_two_sides_of_a_group_are_compared_exactly(texts: list[str], threshold: float) -> None:
    prints, rows = fingerprints(texts), np.arange(len(texts))
    found = alike_across(prints, alike_groups(prints, threshold), rows[rows % 2 == 0], rows[rows % 2 == 1], threshold)
    pairs = {(a, b) for a in rows[::2] for b in rows[1::2] if likeness(texts[a], texts[b]) >= threshold}
    assert set(zip(*(column.tolist() for column in found[:2]), strict=True)) == pairs


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


@pytest.fixture
def never_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the texts were many: the banded way is taken."""
    monkeypatch.setattr(alike, "EXACT_ROWS", 0)


@pytest.mark.usefixtures("never_exact")
@pytest.mark.parametrize("share", [0.02, 0.05, 0.08])
def test_bands_find_what_brute_force_finds(share: float) -> None:
    texts, twins = edited(400, share)
    both = [*texts, *twins]
    truth = {(row, row + 400) for row in range(400) if likeness(texts[row], twins[row]) >= 0.6}
    assert len(truth) > 100
    found = {(first, second) for first, second, _ in alike_pairs(both, 0.6)}
    assert found <= truth
    assert len(found) >= 0.98 * len(truth)
    label = alike_groups(fingerprints(both), 0.6)
    assert sum(label[first] == label[second] for first, second in truth) >= 0.98 * len(truth)


@pytest.mark.usefixtures("never_exact")
def test_the_order_of_many_texts_does_not_matter() -> None:
    texts = [text for pair in zip(*edited(200, 0.08), strict=True) for text in pair]
    order = list(range(len(texts)))
    random.Random(1).shuffle(order)
    found = {frozenset((texts[a], texts[b])) for a, b, _ in alike_pairs(texts, 0.6)}
    shuffled = [texts[row] for row in order]
    assert {frozenset((shuffled[a], shuffled[b])) for a, b, _ in alike_pairs(shuffled, 0.6)} == found
    assert found


@pytest.mark.usefixtures("never_exact")
def test_one_boilerplate_answer_does_not_explode() -> None:
    """3,000 equal and 1,500 nearly equal answers: few candidates for each, and still one group."""
    same = "您好，您的订单已经发出，请您耐心等待，如有其他问题请随时联系我们的客服人员，祝您生活愉快！"
    texts = [same] * 3000 + [f"{same}单号{number:05d}" for number in range(1500)]
    assert len(set(alike_groups(fingerprints(texts), 0.6).tolist())) == 1
    prints = fingerprints(texts[3000:])
    compared = sum(len(first) for first, _ in candidates(prints, np.arange(len(prints)), 0.6))
    assert compared <= len(prints) * NEIGHBOURS * bands_for(0.6)[0]
    assert len(alike_pairs(texts[:3000], 0.6)) == 2999


@pytest.mark.usefixtures("never_exact")
def test_pieces_in_a_file_say_what_pieces_in_memory_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts = [text for pair in zip(*edited(60, 0.05), strict=True) for text in pair]
    kept = fingerprints(texts)
    monkeypatch.setattr("loramill.data.fingerprints.IN_MEMORY", 1000)
    filed = fingerprints(iter(texts), tmp_path)
    assert (kept.file, len(filed), list(tmp_path.iterdir())) == (None, 120, [])
    assert filed.file is not None
    assert filed.values.tolist() == kept.values.tolist()
    assert alike_groups(filed, 0.6).tolist() == alike_groups(kept, 0.6).tolist()
    filed.let_go()
    assert filed[119].tolist() == kept[119].tolist()


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
def test_bands_keep_the_recall_they_promise(threshold: float) -> None:
    bands, rows = bands_for(threshold)
    assert 1 - (1 - threshold**rows) ** bands >= RECALL


def test_hashes_of_pieces_never_change() -> None:
    """Ledgers hold them."""
    assert fingerprints(["工资拖欠"])[0].tolist() == HASHES
    assert extended(fingerprints(["工资"]), [np.array(HASHES, np.uint32)])[1].tolist() == HASHES


def test_a_fingerprint_does_not_see_spaces_and_takes_any_text() -> None:
    spaced, packed, lone = fingerprints([" 工 资\n拖欠", "工资拖欠", "\ud800"]).take(np.array([0, 1, 2]))
    assert spaced.tolist() == packed.tolist()
    assert len(lone) == 1
    assert len(fingerprints([])) == 0
    assert alike_pairs([], 0.6) == []
