from pathlib import Path

import pytest

from loramill.config import AnswerRule, JudgeConfig, Plan, compile_pattern, load_plan
from loramill.errors import ConfigError


def plan(folder: Path, rules: str) -> Plan:
    conf = folder / "conf"
    conf.mkdir(exist_ok=True)
    (conf / "default.yaml").write_text("base: embedded\n")
    (conf / "law.yaml").write_text(f"evaluate:\n  rules:\n    - {rules}\n", encoding="utf-8")
    return load_plan(conf / "law.yaml")


def test_words_are_words_and_slashes_make_an_expression() -> None:
    assert compile_pattern("a.c").search("xA.Cx")
    assert not compile_pattern("a.c").search("abc")
    assert compile_pattern("/a.c/").search("abc")
    assert compile_pattern("/").search("1/2")


def test_one_pattern_needs_no_list() -> None:
    assert AnswerRule(name="n", reason="r", must="依据").must == ("依据",)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (
            "{name: n, reason: r, must: '/(ab/'}",
            r"law\.yaml: 1 wrong\n  evaluate\.rules\.0: .*rule 'n', must: pattern '/\(ab/' is no regular expression: "
            r"missing \) at character 5",
        ),
        (
            "{name: n, reason: r, must: ['依据', '/a**/']}",
            r"pattern '/a\*\*/' is no regular expression: .* at character 4",
        ),
        ("{name: n, reason: r, must_not: ' '}", r"rule 'n', must_not: pattern ' ' has 1 characters; write 1 to 1000"),
        (f"{{name: n, reason: r, when: '{'a' * 1001}', must: b}}", r"when: pattern 'a+' has 1001 characters"),
        ("{name: n, reason: r}", r"rule 'n' asks for nothing; write must, must_not, from_question or cites"),
        ("{name: n, reason: r, must_not: a, before: b}", r"rule 'n' says `before` without `must`"),
        ("{name: n, must: a}", r"evaluate\.rules\.0\.reason: Field required"),
        (
            "{name: n, reason: r, must: a, mustnot: b}",
            r"evaluate\.rules\.0\.mustnot: unknown key; allowed here: before, c",
        ),
        ("{name: n, reason: r, must: a, weight: 0}", r"evaluate\.rules\.0\.weight: Input should be greater than 0"),
        ("{name: n, reason: r, cites: conf/no.yaml}", r"law\.yaml: rule 'n', cites: cannot read '.*conf/no\.yaml'"),
    ],
)
def test_a_bad_rule_is_named_with_its_file_and_what_is_wrong(tmp_path: Path, rules: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(tmp_path, rules)


@pytest.mark.parametrize("domain", ["law", "customer-service"])
def test_our_own_rules_have_chinese_names_and_reasons(root: Path, domain: str) -> None:
    rules = load_plan(root / f"conf/{domain}.yaml", root / "conf").evaluate.rules
    assert rules
    for rule in rules:
        assert all(any("一" <= sign <= "龥" for sign in text or "") for text in (rule.name_zh, rule.reason_zh)), (
            rule.name
        )


def test_a_table_lies_beside_the_plan(tmp_path: Path) -> None:
    (tmp_path / "laws.yaml").write_text("劳动法: 1-107\n", encoding="utf-8")
    assert plan(tmp_path, "{name: n, reason: r, cites: laws.yaml}").evaluate.rules[0].cites == "laws.yaml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"url": "http://x/v1"}, "judge needs url and model, or neither; got url 'http://x/v1' and model None"),
        ({"url": "file:///etc/passwd", "model": "m"}, "must begin with http:// or https://, got 'file:///etc/passwd'"),
    ],
)
def test_a_judge_is_whole_and_on_the_web(content: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        JudgeConfig.model_validate(content)
