"""What benchmarks leave behind: parts that are not measured twice, and figures that reach the documentation."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.memory import summary_table
from benchmarks.pictures import put
from benchmarks.products import compare
from benchmarks.results import Parts, leave, newest


def taken(
    folder: Path, settings: dict[str, int], *, fresh: bool = False, code: Sequence[str] = results.MEASURED
) -> int:
    """Take one part; return how often it was measured."""
    calls: list[int] = []

    def make() -> dict[str, int]:
        calls.append(1)
        return {"value": 7}

    assert Parts("b", 1, fresh=fresh, folder=folder).take("part", settings, make, code) == {"value": 7}
    return len(calls)


def test_a_part_is_measured_once_for_its_settings_and_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert taken(tmp_path, {"steps": 3}) == 1
    assert taken(tmp_path, {"steps": 3}) == 0
    assert taken(tmp_path, {"steps": 4}) == 1
    assert taken(tmp_path, {"steps": 3}, fresh=True) == 1
    assert results.code_digest(results.OTHERS) != results.code_digest()
    monkeypatch.setattr(results, "code_digest", lambda folders: "theirs" if folders == results.OTHERS else "another")
    assert taken(tmp_path, {"steps": 3}) == 1
    assert taken(tmp_path, {"steps": 3}, code=results.OTHERS) == 1
    monkeypatch.setattr(results, "code_digest", lambda folders: "theirs" if folders == results.OTHERS else "a third")
    assert taken(tmp_path, {"steps": 3}, code=results.OTHERS) == 0, "a change of ours leaves another's figures alone"


def test_a_part_says_how_far_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = Parts("b", 3, folder=tmp_path)
    parts.take("one", {}, lambda: {})
    parts.take("two", {}, lambda: {})
    assert capsys.readouterr().out == "[1/3] one: done, about 0 s left\n[2/3] two: done, about 0 s left\n"


def test_the_newest_result_comes_first(tmp_path: Path) -> None:
    assert list(newest("b", tmp_path)) == []
    leave("b", {"run": 1}, tmp_path)
    leave("b", {"run": 2}, tmp_path)
    assert list(newest("b", tmp_path)) == [{"run": 2}, {"run": 1}]


def test_a_table_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- measured: t -->\nold\n<!-- end: t -->\nafter\n", encoding="utf-8")
    for text in ("first", "second"):
        put("page", "t", text, tmp_path)
    assert page.read_text(encoding="utf-8") == "before\n<!-- measured: t -->\n\nsecond\n\n<!-- end: t -->\nafter\n"
    with pytest.raises(
        ValueError, match=r"lacks the lines '<!-- measured: u -->' and '<!-- end: u -->', between which"
    ):
        put("page", "u", "text", tmp_path)


def test_every_page_has_the_marks_that_its_tables_need(root: Path) -> None:
    needed = {
        "speed": ("one_adapter", "packed", "peak", "profile", "products"),
        "memory": ("memory",),
        "search": ("search",),
    }
    for page, names in needed.items():
        text = (root / f"docs/{page}.md").read_text(encoding="utf-8")
        for name in names:
            assert f"<!-- measured: {name} -->" in text
            assert f"<!-- end: {name} -->" in text


def test_three_ways_to_add_products_compute_the_same() -> None:
    """`compare` checks outputs and gradients before it takes the time."""
    assert set(compare(3, (12, 20), "cpu")) == {"slices", "masked", "padded"}


def test_a_table_of_points_has_a_column_for_each_way() -> None:
    point = {"base": "llama", "members": 4, "planned": 2**20, "measured": 2**21, "error": -0.5}
    ways = [{"tokens": tokens, "checkpointing": again} for tokens in (1024, 16384) for again in (False, True)]
    lines = summary_table([point | way for way in ways]).splitlines()
    assert lines[0] == (
        "| base | members | 16,384 tokens | 16,384 tokens, checkpointing | 1,024 tokens | 1,024 tokens, checkpointing |"
    )
    assert lines[2] == "| llama | 4 |" + " 1 / 2 (-50.0 %) |" * 4
