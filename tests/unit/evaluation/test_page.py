import re
from pathlib import Path
from typing import Any

import pytest

from loramill.config import PromoteConfig
from loramill.evaluation.advice import rows_needed
from loramill.evaluation.examples import SHOWN, examples
from loramill.evaluation.gates import Gate, Standing, rule
from loramill.evaluation.page import proof_markdown, proof_page, times
from loramill.evaluation.plain import plain_words, told
from loramill.reports import write_json
from tests.unit.data.test_page import Page

HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">'
VERDICT = {"outcome": "better", "rows": 20, "gain": 0.7, "low": 0.4, "high": 0.9, "p_value": 0.0002, "detectable": 0.3}
UNSURE = VERDICT | {"outcome": "not proven", "gain": 0.1, "low": -0.2, "p_value": 0.21}


def scored(rows: int = 20, *, champion: bool = True, text: str = "回答") -> dict[str, Any]:
    """Scores of a domain in which the challenger gains more on every further row, and loses on the first four."""
    members = ["base", *(["champion"] if champion else []), "challenger"]
    answers = [
        {"id": f"r{row}", "question": f"{text}？{row}", "reference": text}
        | {name: f"{name}{text}{row}" for name in members}
        for row in range(rows)
    ]
    losses = [{"base": 3.0, "champion": 2.0, "challenger": 2.35 - 0.1 * row} for row in range(rows)]
    failing = [{"question": answers[0]["question"], "answer": answers[0]["challenger"], "rule": text, "reason": text}]
    rate = {"rule": text, "reason": text, "passed": rows - 1, "rows": rows, "low": 0.7, "high": 0.99}
    recited = {"question": text, "answer": text, "run": text}
    phrase = {"phrase": text, "answers": 9, "share": 0.45, "training_share": 0.0}
    contradiction = {"question": text, "first": text, "second": text, "reason": text}
    rules = {"pass_rate": 0.9, "low": 0.7, "high": 0.99, "by_rule": [rate], "failing": failing}
    heart = {"longest_train": 40, "longest_test": 3, "recites": True}
    personal = {"question": text, "answer": text, "kinds": ["phone", text], "learnt": True}
    return {
        "domain": text,
        "challenger": "c" * 64,
        "base": f"/house/{text}",
        "rows": rows,
        "loss": dict.fromkeys(members, 2.0),
        "verdicts": {"base": VERDICT} | ({"champion": UNSURE} if champion else {}),
        "compared": {"base": {"chrf": VERDICT}},
        "per_row": [
            {"id": f"r{row}", "source": f"{text}.txt:{row}"} | {name: losses[row][name] for name in members}
            for row in range(rows)
        ],
        "answers": answers,
        "measures": {name: {"chrf": 20.0, "stopped": 0.5, "exact_match": None, text: 1.0} for name in members},
        "rules": dict.fromkeys(members, rules),
        "recitation": {"challenger": heart | {"recited": [recited], "stock_phrases": [phrase], "personal": [personal]}},
        "general": {"before": 2.0, "after": 2.9, "rise": 0.9, "budget": 0.5, "within": False},
        "contradictions": {"challenger": {"pairs": 9, "contradictory": 2, "examples": [contradiction]}},
        "judge": {"pairs": 9, "wins": 5, "losses": 2, "ties": 2, "agreement": 0.8, "position_bias": 0.1},
    }


def ruling(scores: dict[str, Any], decision: str = "kept the champion", *reasons: str) -> dict[str, Any]:
    return {"decision": decision, "version": "3", "adapter": scores["challenger"], "reasons": list(reasons)}


GATE = {"name": "rules", "passed": False, "measured": True, "zh": "关卡", "en": "the gate", "said": "technically"}


CURVES = {"train": [3.0, 2.5, float("nan"), 2.0], "validation": [3.1, 2.6, 2.7]}


@pytest.fixture(scope="module")
def full() -> str:
    scores = scored()
    return proof_page(scores, ruling(scores, "kept the champion", "failed: what nobody expected"), CURVES)


def test_the_verdict_against_the_champion_comes_first_in_both_languages(full: str) -> None:
    seen = Page(full)
    assert "未能证明新模型比上线版本好" in seen.said("zh")
    assert "It is not proven that the new model is better than the version in service" in seen.said("en")
    assert full.index("比上线版本") < full.index("比底座")
    assert "16 questions up, 4 down" in seen.said("en")
    assert f"<b>{times(0.7)}</b>" in full  # 2.01 times as likely


def test_nothing_that_a_model_or_row_says_becomes_part_of_the_page(full: str) -> None:
    scores = scored(text=HOSTILE)
    text = proof_page(scores, ruling(scores, HOSTILE, f"failed: {HOSTILE}"), CURVES)
    seen = Page(text)
    assert [tag for tag, _ in seen.elements].count("script") == 1
    assert {tag for tag, _ in seen.elements} <= {tag for tag, _ in Page(full).elements}
    assert "alert(1)" in seen.said("")


def test_the_page_asks_nothing_of_the_network(full: str) -> None:
    assert not re.search(r"https?://|//[a-z]|url\(|@import|<link|<iframe", full)
    assert "default-src 'none'" in full


def every_gate() -> list[Gate]:
    """All that gates can say."""
    strict = PromoteConfig(min_rules=0.8)
    flat = {name: {"challenger": [0.0] * 6, "base": [0.0] * 6} for name in strict.no_worse}
    heart = [
        {"recites": recites, "personal": [{"learnt": learnt}]} for recites in (True, False) for learnt in (True, False)
    ]
    full = [
        {"verdicts": {"base": {"outcome": "better"}}, "paired": flat, "recitation": {"challenger": found}}
        | {"general": {"rise": -0.1, "budget": 0.5, "within": True}, "rules": {"challenger": {"pass_rate": 0.9}}}
        for found in heart
    ]
    learnt = Standing("law", "d" * 64, learnt=frozenset("a"))
    rulings = [
        *(rule(strict, scores, Standing("law")) for scores in full),
        rule(strict, {"per_row": [{"id": "a"}]}, learnt),
        rule(strict, {"champion": "e" * 64}, learnt),
        rule(strict, {}, Standing("law", is_champion=True)),
        rule(strict, {}, Standing("law", retired="forgotten")),
        rule(strict, {}, Standing("law", rejected="王: rude")),
    ]
    off = PromoteConfig(no_worse=(), forgetting=False, recitation=False)
    meanwhile = [
        Gate("allowed", "barred meanwhile", False, "", {"why": "retired"}),
        Gate("same champion", "overtaken", False, ""),
    ]
    return [*meanwhile, *(gate for each in [*rulings, rule(off, {}, learnt)] for gate in each.gates)]


def test_every_gate_is_told_in_both_languages() -> None:
    gates, plain = every_gate(), plain_words()
    assert {gate.kind for gate in gates} == set(plain["gates"]), "sentences that no gate says, or gates without one"
    for gate in gates:
        data = told(gate, plain)
        assert data["zh"]
        assert data["en"]
        assert "{" not in data["zh"] + data["en"]


def test_the_page_reads_the_gates_data() -> None:
    scores = scored()
    off = GATE | {"passed": None, "measured": False, "zh": "没问", "en": "nobody asked"}
    decided = ruling(scores, "kept the champion", "failed: technically") | {"gates": [GATE, off]}
    seen = Page(proof_page(scores, decided))
    assert "关卡" in seen.said("zh")
    assert "the gate" in seen.said("en")
    assert "nobody asked" in seen.said("en")
    assert "not asked" in seen.said("en")
    assert "technically" not in seen.said("")


def test_gates_of_an_earlier_version_are_shown_as_they_are(full: str) -> None:
    assert "what nobody expected" in Page(full).said("")


def test_scores_without_anything_still_make_a_page() -> None:
    seen = Page(proof_page({}))
    assert "Nothing was compared yet" in seen.said("en")
    assert "Nothing is decided yet" in seen.said("en")
    old: dict[str, Any] = {"verdicts": {"base": {"outcome": "better"}}, "loss": {"base": 2.0, "challenger": 1.0}}
    old |= {"answers": [{"question": "问", "base": "甲", "challenger": "乙"}]}
    assert "not picked" in Page(proof_page(old)).said("en")


@pytest.mark.parametrize("key", list(scored()))
def test_each_section_may_be_missing(key: str) -> None:
    scores = scored()
    del scores[key]
    Page(proof_page(scores))


def test_a_verdict_without_numbers_is_told_without_numbers() -> None:
    infinite = float("inf")
    broken = UNSURE | {"gain": -infinite, "low": -infinite, "high": infinite, "detectable": infinite}
    text = proof_page(scored() | {"verdicts": {"base": broken}})
    assert "inf" not in re.sub("<style>.*?</style>", "", text, flags=re.DOTALL).replace("information", "")
    assert "too few to prove anything" in text


def test_a_rule_has_its_own_name_and_reason_in_chinese() -> None:
    scores = scored()
    rate = scores["rules"]["challenger"]["by_rule"][0]
    rate |= {"name_zh": "先道歉", "reason_zh": "先听投诉"}
    rate["rule"] = scores["rules"]["challenger"]["failing"][0]["rule"] = "apology first"
    rate["reason"] = "heard first"
    seen = Page(proof_page(scores))
    assert "apology first" in seen.said("en")
    assert "heard first" in seen.said("en")
    assert seen.said("zh").count("先道歉") == 4  # an example, the table, the failing answers, the advice
    assert "先听投诉" in seen.said("zh")
    assert "apology first" not in seen.said("zh") + seen.said("")


def test_without_a_champion_nothing_is_said_of_one() -> None:
    text = proof_page(scored(champion=False))
    assert "Against the version in service" not in text
    assert "The new model is better than the base model. That is proven." in text


def test_a_ruling_about_another_adapter_decides_nothing_here() -> None:
    scores = scored()
    text = proof_page(scores, ruling(scores, "promoted") | {"adapter": "d" * 64})
    assert "Nothing is decided yet" in text


def test_ten_answers_are_shown_the_worst_first() -> None:
    found = examples(scored(30))
    gains = [each.gain for each in found if each.gain is not None]
    assert len(found) == len({each.question for each in found}) == SHOWN
    assert gains == sorted(gains)
    assert [each.place for each in found] == ["worst"] * 5 + ["middle"] * 2 + ["best"] * 3
    assert found[0].answers[0].broken == ("回答",)
    for rows in range(1, 13):
        assert len({each.question for each in examples(scored(rows))}) == min(rows, SHOWN)


def test_the_rows_that_would_prove_a_gain_grow_with_the_square() -> None:
    assert rows_needed({"gain": 0.1, "detectable": 0.2, "rows": 20}) == 80
    for verdict in ({"gain": 0.0}, {"gain": -0.1}, {"gain": 0.001}, {"gain": 0.4}, {"gain": None}, {}):
        assert rows_needed({"detectable": 0.2, "rows": 20} | verdict if verdict else {}) is None


def test_an_example_that_all_models_say_alike_is_warned_of(full: str) -> None:
    assert "45\u00a0% of its answers hold the same phrase" in Page(full).said("en")
    assert "only 50\u00a0% of its answers came to an end" in Page(full).said("en")


def test_the_gist_is_a_table() -> None:
    scores = scored()
    text = proof_markdown(scores, ruling(scores, "promoted", "passed: a\nb"))
    assert "| champion | not proven |" in text
    assert "- passed: a b" in text


def test_the_page_lies_beside_the_ruling_and_never_costs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tasks.pages import write_proof_page

    scores = scored()
    write_json(tmp_path / "scores.json", scores)
    promotion = write_json(tmp_path / "reports/promote.json", ruling(scores, "promoted"))
    page = write_proof_page(tmp_path / "scores.json", promotion)
    assert "It passed every gate" in page.read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""
    write_json(tmp_path / "scores.json", scores | {"answers": "none"})
    write_proof_page(tmp_path / "scores.json", promotion)
    assert "the page of the proof is not complete" in capsys.readouterr().err


def test_the_curves_are_those_of_the_adapter_that_was_judged(tmp_path: Path) -> None:
    from tasks.pages import _curves

    promotion = write_json(tmp_path / "promote.json", {"adapter": "a"})
    assert _curves(promotion) is None
    curves = {"train": [3.0, 2.0], "validation": [3.0, 1.5]}
    write_json(tmp_path / "train.json", {"adapter": "a", "curves": curves})
    assert _curves(promotion) == curves
    write_json(tmp_path / "train.json", {"adapter": "b", "curves": curves})
    assert _curves(promotion) is None
