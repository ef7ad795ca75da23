from pathlib import Path
from typing import Any

import pytest

from loramill.reports import write_json
from scripts.base.law import ANSWERS, keep, kept, outcome_of, write_page


@pytest.fixture
def scores(tiny_folder: Path) -> dict[str, Any]:
    """What `evaluate` leaves, as far as the page reads it."""
    rules = {
        "pass_rate": 0.5,
        "by_rule": [{"rule": "opens", "passed": 3, "rows": 4}, {"rule": "no", "passed": 0, "rows": 0}],
    }
    ids = [f"{number:02d}" for number in range(12)]
    return {
        "rows": 12,
        "base": str(tiny_folder),
        "loss": {"base": 3.0, "challenger": 2.0},
        "rules": {"base": rules, "challenger": rules | {"pass_rate": 0.75}},
        "measures": {"base": {"chrf": 1.0}, "challenger": {"chrf": 9.5}},
        "per_row": [{"id": each, "base": 3.0, "challenger": 2.0} for each in reversed(ids)],
        "answers": [
            {"id": each, "question": f"第{each}问？", "reference": "工资", "base": "", "challenger": f"答{each}"}
            for each in reversed(ids)
        ],
    }


def test_the_loss_per_character_counts_the_stop_token(scores: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokens = len(AutoTokenizer.from_pretrained(scores["base"]).encode("工资", add_special_tokens=False)) + 1
    found = outcome_of(write_json(tmp_path / "scores.json", scores))
    assert found.per_character == {
        "base": pytest.approx(3.0 * tokens / 2),
        "challenger": pytest.approx(2.0 * tokens / 2),
    }
    assert found.single_rules["base"] == {"opens": 0.75}


def test_the_page_shows_both_bases_and_the_first_answers_by_id(scores: dict[str, Any], tmp_path: Path) -> None:
    after = outcome_of(write_json(tmp_path / "scores.json", scores))
    before = kept(keep(after, tmp_path / "before.json"))
    assert before == after
    text = write_page(before, after, tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| answers that keep all rules | 50% | 75% | 50% | 75% |" in text
    assert "| rule: opens | 75% | 75% | 75% | 75% |" in text
    assert [f"**第{number:02d}问？**" in text for number in range(12)] == [True] * ANSWERS + [False] * 2
    assert "- *embedded base*: (nothing)" in text
    assert "{" not in text
