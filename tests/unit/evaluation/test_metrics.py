import numpy as np
import pytest

from loramill.evaluation.metrics import chrf, measure, rouge_l, same, tokens
from loramill.pack.speak import Said

LOSSES = np.array([1.0, 3.0])


def test_chrf_counts_characters_and_no_spaces() -> None:
    assert chrf(["依据劳动法", "依 据 劳动法", "完全不同"], ["依据劳动法"] * 3) == [100.0, 100.0, 0.0]
    # by hand: 1-grams 2 of 3, 2-grams 1 of 2, 3-grams 0 of 1; precision and recall are equal, so F is their mean over 3 orders
    assert chrf(["abc"], ["abd"]) == [pytest.approx(100 * (2 / 3 + 1 / 2 + 0) / 3)]


def test_rouge_l_is_the_longest_common_subsequence_of_characters_or_words() -> None:
    # 依 劳 动 法 in order: 4 of 5 and 4 of 6
    precision, recall = 4 / 5, 4 / 6
    assert rouge_l(["依据劳动法"], ["依照《劳动法》条"]) == [
        pytest.approx(2 * precision * recall / (precision + recall))
    ]
    assert rouge_l(["the law says so"], ["The law says no!"]) == [pytest.approx(3 / 4)]
    assert rouge_l(["", "有"], ["有", ""]) == [0.0, 0.0]


def test_text_without_spaces_is_cut_into_characters_and_other_text_into_words() -> None:
    assert tokens("HR说：３天内OK，《劳动法》") == ["hr", "说", "3", "天", "内", "ok", "劳", "动", "法"]


def test_the_same_is_the_same_whatever_its_punctuation() -> None:
    assert same("退款 ", "「退款」。")
    assert not same("不退款", "退款")


def test_measures_are_means_over_rows() -> None:
    said = [Said("退款。", stopped=True), Said("不知道该怎么办才好呢真的", stopped=False)]
    found = measure(LOSSES, said, ["退款", "可以退款，七天之内都可以的"], ([10.0, 30.0], [0.2, 0.4]), 12, 1.5)
    assert found.perplexity == pytest.approx(np.e**2)
    assert (found.chrf, found.rouge_l, found.stopped) == (20.0, pytest.approx(0.3), 0.5)
    assert found.exact_match == 1.0  # of the one row whose reference is short
    assert found.length_ratio == 15 / 15
    assert found.seconds_per_answer == 1.5


def test_where_nothing_is_asked_nothing_is_measured() -> None:
    found = measure(LOSSES, [], [], ([], []), 12, None)
    assert found.perplexity > 1
    assert {found.chrf, found.rouge_l, found.exact_match, found.stopped, found.length_ratio} == {None}
    long = measure(LOSSES, [Said("a", stopped=True)], ["a long reference"], ([0.0], [0.0]), 12, None)
    assert long.exact_match is None


def test_a_loss_beyond_all_numbers_is_still_a_number() -> None:
    assert np.isfinite(measure(np.array([1e9]), [], [], ([], []), 12, None).perplexity)
