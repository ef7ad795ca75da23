"""The figures of the search benchmark, from searches that were not made."""

import pytest

from benchmarks.search import shown, summary


def search(seconds: float, best: float, *ends: tuple[float, float | None]) -> dict[str, object]:
    return {"seconds": seconds, "best": best, "ends": [*ends, (seconds, best)], "steps": 10, "peak_mb": 1.0}


RESULTS = {
    "ours": [search(20, 2.0, (10, None)), search(40, 2.3)],
    "sequential": [search(100, 2.1, (50, 2.4)), search(100, 2.0, (25, 2.3))],
}


def test_losses_are_paired_by_seed_and_walls_are_medians() -> None:
    figures = summary(RESULTS)
    assert figures["wall_vs_sequential"] == pytest.approx(30 / 100)
    assert figures["loss_difference"] == pytest.approx((-0.1 + 0.3) / 2)
    assert figures["loss_difference_error_vs_sequential"] == pytest.approx(0.2)
    assert figures["wall_to_same_loss_vs_sequential"] == pytest.approx((20 / 100 + 40 / 25) / 2)
    assert figures["seeds"] == 2


def test_contestants_may_be_measured_without_ours() -> None:
    figures = summary({"sequential": RESULTS["sequential"]})
    assert (figures["seeds"], figures["loss_difference"]) == (0, None)
    assert "| sequential | 100 | 2.0500 | 10 | 1 | 2 |" in shown(figures["contestants"])
