from pathlib import Path

import pytest

from loramill.evaluation.summary import CUT, print_summary
from loramill.reports import write_json

VERDICT = {
    "outcome": "better",
    "rows": 41,
    "gain": 3.013,
    "low": 2.5,
    "high": 3.5,
    "p_value": 0.0001,
    "detectable": 0.2,
}


def printed(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    champion: bool = False,
    width: int = 120,
    answer: str = "答案",
    gates: list[dict[str, object]] | None = None,
) -> str:
    loss = {"base": 9.208, "challenger": 6.195} | ({"champion": 6.4} if champion else {})
    verdicts = {"base": VERDICT} | ({"champion": VERDICT | {"outcome": "not proven"}} if champion else {})
    texts = {name: f"{name}说：[bold]{answer}" for name in loss}
    answers = [{"question": f"工资{index}？", "reference": "依据《劳动法》"} | texts for index in range(5)]
    scores = write_json(
        tmp_path / "scores.json", {"domain": "law", "loss": loss, "verdicts": verdicts, "answers": answers}
    )
    ruling = {"decision": "promoted", "version": "3", "adapter": "0123456789abcdef", "reasons": ["passed: base"]}
    promotion = write_json(tmp_path / "promote.json", ruling | ({"gates": gates} if gates is not None else {}))
    following = {"loramill chat law --compare": "talk", "dvc repro": "again"}
    print_summary(scores, promotion, {"adapter": Path("artifacts/law/adapter")}, following, width=width)
    return capsys.readouterr().out


def test_the_verdict_is_told_with_its_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(tmp_path, capsys)
    for words in (
        "adapter against base: BETTER",
        "loss on 41 held-out rows 9.208 → 6.195",
        "gain 3.013 (2.500 to 3.500), p = 0.0001",
        "gains from about 0.200 on",
        "decision: promoted (registered as version 3, adapter 0123456789ab)",
        "passed: base",
        "artifacts/law/adapter",
        "loramill chat law --compare",
    ):
        assert words in text


def test_the_gates_data_are_told_in_plain_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gates = [
        {"passed": True, "measured": False, "en": "Everyday questions must not be unlearnt"},
        {"passed": False, "measured": True, "en": "90% keep every rule"},
        {"passed": None, "measured": False, "en": "nobody asked"},
    ]
    text = printed(tmp_path, capsys, gates=gates)
    assert "passed, not measured: Everyday questions must not be unlearnt" in text
    assert "failed: 90% keep every rule" in text
    assert "nobody asked" not in text
    assert "passed: base" not in text


def test_three_answers_stand_side_by_side_in_chinese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(tmp_path, capsys)
    assert [f"工资{index}？" in text for index in range(5)] == [True, True, True, False, False]
    assert "依据《劳动法》" in text
    assert "base说：[bold]答案" in text  # a model's text is no markup
    assert "champion" not in text


def test_a_champion_gets_its_own_verdict_and_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(tmp_path, capsys, champion=True)
    assert "adapter against champion: NOT PROVEN" in text
    assert "champion说" in text


def test_a_long_answer_is_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(tmp_path, capsys, width=4000, answer="长" * 500)
    assert text.count("长" * (CUT - len("challenger说：[bold]"))) >= 3
    assert "长" * CUT not in text
    assert "…" in text


def test_a_narrow_terminal_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "decision" in printed(tmp_path, capsys, champion=True, width=40)
